package feature

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// able is a system on which nothing is missing.
func able() fstest.MapFS {
	return fstest.MapFS{
		"proc/self/status":             file("Name:\ttcpstates\nCapEff:\t000001ffffffffff\nSeccomp:\t0\n"),
		"proc/self/uid_map":            file("         0          0 4294967295\n"),
		"sys/kernel/btf/vmlinux":       file("types"),
		"sys/kernel/security/lockdown": file("[none] integrity confidentiality\n"),
	}
}

// on is a system with these files, whose kernel answers so to bpf().
func on(root fs.FS, release string, bpf error) system {
	return system{
		root: root, release: release,
		bpf:     func() error { return bpf },
		memlock: func() error { return nil },
	}
}

// typesOf has kernel types where the system has the file.
func typesOf(root fs.FS) func() (*btf.Spec, error) {
	return func() (*btf.Spec, error) {
		_, err := fs.Stat(root, "sys/kernel/btf/vmlinux")
		return new(btf.Spec), err
	}
}

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

func TestDiagnose(t *testing.T) {
	for _, test := range []struct {
		name    string
		change  func(fs fstest.MapFS)
		release string
		err     error
		want    []string
	}{
		{name: "no privilege", err: unix.EPERM,
			change: func(fs fstest.MapFS) { fs["proc/self/status"] = file("CapEff:\t0000000000000000\n") },
			want:   []string{"needs root, or the capabilities CAP_BPF and CAP_PERFMON", "sudo"}},
		{name: "CAP_BPF alone", err: unix.EPERM,
			change: func(fs fstest.MapFS) { fs["proc/self/status"] = file("CapEff:\t0000008000000000\n") },
			want:   []string{"needs the capability CAP_PERFMON", "--cap-add"}},
		{name: "CAP_PERFMON alone", err: unix.EPERM,
			change: func(fs fstest.MapFS) { fs["proc/self/status"] = file("CapEff:\t0000004000000000\n") },
			want:   []string{"needs the capability CAP_BPF:"}},
		{name: "CAP_SYS_ADMIN is enough", err: unix.EINVAL,
			change: func(fs fstest.MapFS) { fs["proc/self/status"] = file("CapEff:\t0000000000200000\n") },
			want:   []string{"run with -v"}},
		{name: "user namespace", err: unix.EPERM,
			change: func(fs fstest.MapFS) { fs["proc/self/uid_map"] = file("         0       1000          1\n") },
			want:   []string{"user namespace", "rootless"}},
		{name: "lockdown", err: unix.EPERM,
			change: func(fs fstest.MapFS) {
				fs["sys/kernel/security/lockdown"] = file("none integrity [confidentiality]\n")
			},
			want: []string{"locked down", "lockdown=integrity"}},
		{name: "no BTF", err: unix.EINVAL,
			change: func(fs fstest.MapFS) { delete(fs, "sys/kernel/btf/vmlinux") },
			want:   []string{"no type information", "CONFIG_DEBUG_INFO_BTF=y"}},
		{name: "old kernel", err: unix.EINVAL, release: "4.16.9-generic", want: []string{"kernel 4.16.9-generic is too old", "4.17"}},
		{name: "kernel just new enough", err: unix.EINVAL, release: "4.17.0", want: []string{"run with -v"}},
		{name: "next major", err: unix.EINVAL, release: "6.0", want: []string{"run with -v"}},
		{name: "seccomp", err: unix.EPERM,
			change: func(fs fstest.MapFS) {
				fs["proc/self/status"] = file("CapEff:\t000001ffffffffff\nSeccomp:\t2\n")
			},
			want: []string{"seccomp", "--privileged"}},
		{name: "policy", err: unix.EACCES, want: []string{"security policy", "dmesg"}},
		{name: "no bpf()", err: unix.ENOSYS, want: []string{"CONFIG_BPF_SYSCALL"}},
		{name: "no memory", err: unix.ENOMEM, want: []string{"--buffer"}},
		{name: "nothing readable", err: unix.EINVAL,
			change: func(fs fstest.MapFS) { clear(fs) }, want: []string{"/proc is not mounted", "mount -t proc"}},
		{name: "no /sys", err: unix.EINVAL,
			change: func(fs fstest.MapFS) {
				delete(fs, "sys/kernel/btf/vmlinux")
				delete(fs, "sys/kernel/security/lockdown")
			},
			want: []string{"/sys is not mounted", "mount -t sysfs"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := able()
			if test.change != nil {
				test.change(root)
			}
			release := test.release
			if release == "" {
				release = "6.18.0"
			}
			got := newList(on(root, release, nil), Options{KernelTypes: typesOf(root)}).diagnose(test.err)
			for _, want := range test.want {
				if !strings.Contains(got, want) {
					t.Errorf("got %q, want it to say %q", got, want)
				}
			}
			if strings.Contains(got, "\n") || strings.HasSuffix(got, ".") {
				t.Errorf("%q is not the one sentence of an error", got)
			}
		})
	}
}

func TestMissingForWalk(t *testing.T) {
	for capabilities, want := range map[string]string{
		"000001ffffffffff": "",
		"000000c000000000": "CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_DAC_READ_SEARCH",
		"000000c000200004": "CAP_SYS_PTRACE",
		"000000c000080004": "CAP_SYS_ADMIN",
		"000000c000280000": "CAP_DAC_READ_SEARCH",
		"what":             "",
	} {
		s := system{root: fstest.MapFS{"proc/self/status": file("CapEff:\t" + capabilities + "\n")}}
		if got := s.missingForWalk(); got != want {
			t.Errorf("with %s: %q is missing, want %q", capabilities, got, want)
		}
	}
}

func TestMissingKeepsTheKernelsRefusal(t *testing.T) {
	var err error = NewList(Options{}).Diagnose(fs.ErrPermission)
	if !errors.Is(err, fs.ErrPermission) {
		t.Errorf("%v does not wrap what the kernel said", err)
	}
}
