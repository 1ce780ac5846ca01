package feature

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

func status(text string) func(fstest.MapFS) {
	return func(fs fstest.MapFS) { fs["proc/self/status"] = file(text) }
}

// noCaps is a process without any capability, allCaps one with all.
const (
	noCaps  = "CapEff:\t0000000000000000\n"
	allCaps = "CapEff:\t000001ffffffffff\n"
)

func TestChecksOfFiles(t *testing.T) {
	mounts := func(lines string) func(fstest.MapFS) {
		return func(fs fstest.MapFS) { fs["proc/self/mountinfo"] = file(lines) }
	}
	for _, test := range []struct {
		name   string
		id     ID
		change func(fstest.MapFS)
		bpf    error
		want   Answer
		says   string
	}{
		{"no filter", Seccomp, nil, nil, Yes, "no filter"},
		{"a filter that lets bpf() pass", Seccomp, status(allCaps + "Seccomp:\t2\n"), nil, Yes, "lets bpf() pass"},
		{"a filter that does not", Seccomp, status(allCaps + "Seccomp:\t2\n"), unix.EPERM, No, "seccomp=unconfined"},
		{"a filter, and nothing to try it with", Seccomp, status(noCaps + "Seccomp:\t2\n"), unix.EPERM, Unknown, "see capabilities"},
		{"bpf() behind a filter", BPFSyscall, status(allCaps + "Seccomp:\t2\n"), unix.EPERM, No, "seccomp filter"},
		{"bpf() without capabilities", BPFSyscall, status(noCaps), unix.EPERM, Unknown, "see capabilities"},
		{"bpf() for want of memory", BPFSyscall, nil, unix.ENOMEM, Unknown, "fails"},
		{"SELinux permissive", SELinux, func(fs fstest.MapFS) { fs["sys/fs/selinux/enforce"] = file("0") }, unix.EACCES, Yes, "not enforcing"},
		{"SELinux enforcing", SELinux, func(fs fstest.MapFS) { fs["sys/fs/selinux/enforce"] = file("1") }, unix.EACCES, No, "ausearch"},
		{"SELinux allows", SELinux, func(fs fstest.MapFS) { fs["sys/fs/selinux/enforce"] = file("1") }, nil, Yes, "lets bpf() pass"},
		{"unprivileged bpf() off, without capabilities", UnprivilegedBPF, func(fs fstest.MapFS) {
			fs["proc/sys/kernel/unprivileged_bpf_disabled"] = file("2\n")
			status(noCaps)(fs)
		}, nil, No, "kernel.unprivileged_bpf_disabled is 2"},
		{"unprivileged bpf() off, with capabilities", UnprivilegedBPF,
			func(fs fstest.MapFS) { fs["proc/sys/kernel/unprivileged_bpf_disabled"] = file("2\n") }, nil, Yes, "no obstacle"},
		{"tracefs", Tracefs, mounts("30 1 0:9 / /a/b rw - tracefs tracefs rw\n"), nil, Yes, "at /a/b"},
		{"no tracefs", Tracefs, mounts("22 27 0:21 / /proc rw - proc proc rw\n30"), nil, No, "mount -t tracefs"},
		{"no tracefs for the tracepoint", Tracepoint, nil, nil, No, "mount -t tracefs"},
		{"tracefs without the tracepoint", Tracepoint, mounts("30 1 0:9 / /a/b rw - tracefs tracefs rw\n"), nil, No, "no tracepoint sock:inet_sock_set_state"},
		{"tracepoint with a strange number", Tracepoint, func(fs fstest.MapFS) {
			mounts("30 1 0:9 / /a/b rw - tracefs tracefs rw\n")(fs)
			fs["a/b/events/sock/inet_sock_set_state/id"] = file("x\n")
		}, nil, No, "no tracepoint"},
		{"hidepid with the right to see", HiddenProc, mounts("22 27 0:21 / /proc rw - proc proc rw,hidepid=invisible\n"), nil, Yes, "nothing"},
		{"hidepid", HiddenProc, func(fs fstest.MapFS) {
			mounts("22 27 0:21 / /proc rw - proc proc rw,hidepid=2\n")(fs)
			status(noCaps)(fs)
		}, nil, No, "mounted with hidepid=2"},
		{"hidepid off", HiddenProc, func(fs fstest.MapFS) {
			mounts("22 27 0:21 / /proc rw - proc proc rw,hidepid=off\n")(fs)
			status(noCaps)(fs)
		}, nil, Yes, "nothing"},
		{"cgroup", Cgroup, mounts("41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"), nil, Yes, "at /sys/fs/cgroup"},
		{"cgroup version 1", Cgroup, mounts("41 31 0:38 / /sys/fs/cgroup rw - cgroup cgroup rw\n"), nil, No, "mount -t cgroup2"},
		{"the machine's PID namespace", PIDNamespace, func(fs fstest.MapFS) {
			fs["proc/self/ns/pid"] = &fstest.MapFile{Data: []byte("pid:[4026531836]"), Mode: fs0777}
		}, nil, Yes, "machine's own"},
		{"another PID namespace", PIDNamespace, func(fs fstest.MapFS) {
			fs["proc/self/ns/pid"] = &fstest.MapFile{Data: []byte("pid:[4026532000]"), Mode: fs0777}
		}, nil, No, "--pidns"},
		{"walk", Walk, nil, nil, Yes, ""},
		{"no walk", Walk, status(noCaps), nil, No, "CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_DAC_READ_SEARCH"},
		{"no BTF, no tp_btf", TpBTF, func(fs fstest.MapFS) { delete(fs, "sys/kernel/btf/vmlinux") }, nil, No, "see BTF"},
		{"no BTF, no iterators", IterTCP, func(fs fstest.MapFS) { delete(fs, "sys/kernel/btf/vmlinux") }, nil, No, "see BTF"},
		{"no BTF", BTF, func(fs fstest.MapFS) { delete(fs, "sys/kernel/btf/vmlinux") }, nil, No, "--btf FILE"},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := able()
			if test.change != nil {
				test.change(root)
			}
			l := newList(on(root, "6.18.0", test.bpf), Options{KernelTypes: typesOf(root)})
			if r := l.Ask(test.id); r.Answer != test.want || !strings.Contains(r.Sentence(), test.says) {
				t.Errorf("%v, %q, want %v and %q in it", r.Answer, r.Sentence(), test.want, test.says)
			}
		})
	}
}

const fs0777 = fs.ModeSymlink | 0o777

// TestOldKernelsHaveNoCapBPF: capabilities are told of that the kernel has.
func TestOldKernelsHaveNoCapBPF(t *testing.T) {
	root := able()
	root["proc/sys/kernel/cap_last_cap"] = file("37\n") // CAP_AUDIT_READ, until Linux 5.8
	for capabilities, want := range map[string]Answer{
		"0000000000000000": No,
		"0000000000200000": Yes, // CAP_SYS_ADMIN
		"0000003fffdfffff": No,  // all but that
	} {
		status("CapEff:\t" + capabilities + "\n")(root)
		r := newList(on(root, "5.4.0", nil), Options{}).Ask(Capabilities)
		if r.Answer != want || strings.Contains(r.Sentence(), "BPF") {
			t.Errorf("with %s: %v, %q", capabilities, r.Answer, r.Sentence())
		}
		if want == No && !strings.Contains(r.Sentence(), "CAP_SYS_ADMIN") {
			t.Errorf("with %s: %q does not say what it takes", capabilities, r.Sentence())
		}
	}
}

// TestMemlock: only old kernels count maps as locked memory.
func TestMemlock(t *testing.T) {
	for release, want := range map[string]Answer{"4.18.0-553.el8": No, "5.10.0": No, "5.11.0": Yes, "6.1.0": Yes} {
		s := on(able(), release, nil)
		s.memlock = func() error { return unix.EPERM }
		if r := newList(s, Options{}).Ask(Memlock); r.Answer != want {
			t.Errorf("on %s: %v, %q", release, r.Answer, r.Sentence())
		}
	}
}

// TestTrialsInWords: what a refused trial means depends on what else is known.
func TestTrialsInWords(t *testing.T) {
	rejected := &ebpf.VerifierError{Cause: unix.EACCES, Log: []string{"R1 type=inv"}}
	for _, test := range []struct {
		name   string
		change func(fstest.MapFS)
		bpf    error
		err    error
		want   Answer
		says   string
	}{
		{"it works", nil, nil, nil, Yes, ""},
		{"it is not there", nil, nil, unix.EINVAL, No, "the reason: the remedy"},
		{"the verifier rejects it", nil, nil, fmt.Errorf("load: %w", rejected), No, "the reason: the remedy"},
		{"no such type", nil, nil, errors.Join(btf.ErrNotFound, unix.EPERM), No, "the reason: the remedy"},
		{"a policy", nil, nil, unix.EPERM, No, "security policy"},
		{"no privilege", status(noCaps), unix.EPERM, unix.EPERM, Unknown, "see capabilities"},
		{"no bpf()", status(allCaps + "Seccomp:\t2\n"), unix.EPERM, unix.EPERM, Unknown, "see bpf()"},
		{"no memory", nil, nil, unix.ENOMEM, Unknown, "no memory"},
	} {
		root := able()
		if test.change != nil {
			test.change(root)
		}
		r := newList(on(root, "6.18.0", test.bpf), Options{}).tried(test.err, "the reason", "the remedy")
		if r.Answer != test.want || !strings.Contains(r.Sentence(), test.says) {
			t.Errorf("%s: %v, %q, want %v and %q in it", test.name, r.Answer, r.Sentence(), test.want, test.says)
		}
		if test.want != Yes && !errors.Is(r.Err, test.err) {
			t.Errorf("%s: the kernel's words are %v", test.name, r.Err)
		}
	}
}

// TestRejectionByTheVerifier: it is a fault to report, with its last words.
func TestRejectionByTheVerifier(t *testing.T) {
	var log []string
	for i := range 20 {
		log = append(log, fmt.Sprintf("line %d", i))
	}
	log = append(log, "R2 \x1b[2J min value is negative")
	rejected := fmt.Errorf("load: %w", &ebpf.VerifierError{Cause: unix.EACCES, Log: log})
	got := newList(on(able(), "6.18.0", nil), Options{}).Diagnose(rejected)
	for _, want := range []string{"verifier", "tcpstates doctor --json", "\n  line 13\n", "\n  R2 ?[2J min value is negative"} {
		if !strings.Contains(got.What, want) {
			t.Errorf("got %q, want %q in it", got.What, want)
		}
	}
	if strings.Contains(got.What, "line 12") || strings.HasSuffix(got.What, "\n") {
		t.Errorf("got %q, want the last lines alone", got.What)
	}
	// What is known to keep everything from working is the better reason.
	root := able()
	root["sys/kernel/security/lockdown"] = file("none integrity [confidentiality]\n")
	got = newList(on(root, "6.18.0", nil), Options{}).Diagnose(rejected)
	if !strings.Contains(got.What, "locked down") {
		t.Errorf("got %q under lockdown", got.What)
	}
}

// TestEachIsTriedOnce, and only when it is asked for.
func TestEachIsTriedOnce(t *testing.T) {
	tries, reads := 0, 0
	s := on(able(), "6.18.0", nil)
	s.bpf = func() error { tries++; return unix.ENOSYS }
	l := newList(s, Options{KernelTypes: func() (*btf.Spec, error) { reads++; return nil, fs.ErrNotExist }})
	if tries != 0 || reads != 0 {
		t.Error("it tries before it is asked")
	}
	for range 2 {
		if l.Has(Kernel, BPFSyscall) || l.Has(BTF) || !l.Has() || !l.Has(Kernel) {
			t.Error("wrong answers")
		}
		_, _ = l.KernelTypes()
		l.Ask(SendReset)
	}
	if tries != 1 || reads != 1 {
		t.Errorf("tried %d times, read the types %d times", tries, reads)
	}
}

// TestTracefsOfTheCaller: who mounts one for himself has it looked at.
func TestTracefsOfTheCaller(t *testing.T) {
	l := newList(on(able(), "6.18.0", nil), Options{Tracefs: func() (fs.FS, error) { return nil, unix.EPERM }})
	if r := l.Ask(Tracepoint); r.Answer != No || !errors.Is(r.Err, unix.EPERM) {
		t.Errorf("%+v", r)
	}
}

func TestRowsAreWorded(t *testing.T) {
	names := map[string]bool{}
	for id, row := range Rows() {
		if row.Name == "" || row.For == "" || row.probe == nil || names[row.Name] {
			t.Errorf("row %d, %q, is not complete or not alone", id, row.Name)
		}
		names[row.Name] = true
		if row.Vital() != (ID(id) <= BPFSyscall) {
			t.Errorf("%s: without it %q is lost", row.Name, row.Without)
		}
		for _, other := range row.Unless {
			if other >= ID(id) {
				t.Errorf("%s stands before %s, which makes it superfluous", row.Name, rows[other].Name)
			}
		}
	}
}
