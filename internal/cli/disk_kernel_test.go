package cli

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpstates/internal/kerneltest"
	"tcpstates/internal/probe"
)

// smallDisk mounts a disk with room for 64 KiB, and for 2 MiB when makeRoom was
// called.
func smallDisk(t *testing.T) (dir string, makeRoom func()) {
	t.Helper()
	const size, left = 2 << 20, 64 << 10
	dir = t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Fatalf("mount a small disk: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, size-left), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, func() {
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
	}
}

// onDisk is a trace that writes to a disk.
type onDisk struct {
	*live
	said shared
}

func startOnDisk(t *testing.T, stdout *os.File, args ...string) *onDisk {
	d := &onDisk{}
	d.live = startPrepared(t, stdout, func(cmd *exec.Cmd) { cmd.Stderr = &d.said }, args...)
	return d
}

// heard is what it has said so far.
func (d *onDisk) heard() string {
	d.said.mu.Lock()
	defer d.said.mu.Unlock()
	return d.said.text.String()
}

func (d *onDisk) awaitWord(t *testing.T, word string) {
	t.Helper()
	for begin := time.Now(); !strings.Contains(d.heard(), word); time.Sleep(time.Millisecond) {
		if time.Since(begin) > startLimit {
			t.Fatalf("it does not say %q: %s", word, d.heard())
		}
	}
}

// endIncomplete interrupts the trace, which must end as one that has told what is
// missing.
func (d *onDisk) endIncomplete(t *testing.T) {
	t.Helper()
	err := errors.Join(d.Process.Signal(os.Interrupt), d.Wait())
	if d.ProcessState.ExitCode() != exitFailed || !strings.Contains(d.heard(), " events could not be written: no space left on device\n") {
		t.Errorf("it ends by %v, and says %s", err, d.heard())
	}
	if n := strings.Count(d.heard(), ": the trace goes on without, and tries again every second\n"); n != 1 {
		t.Errorf("it says %d times that there is no room: %s", n, d.heard())
	}
}

// ofDisk is where a test writes to, and how what is there is read.
type ofDisk struct {
	name  string
	start func(t *testing.T, file string, flags ...string) *onDisk
	shown func(t *testing.T, file string) string
}

var toDisk = []ofDisk{
	{"file", func(t *testing.T, file string, flags ...string) *onDisk {
		return startOnDisk(t, outputFile(t), append(flags, "-o", "json", "--file", file)...)
	}, func(t *testing.T, file string) string { return read(t, file) }},
	{"stdout", func(t *testing.T, file string, flags ...string) *onDisk {
		out, err := os.Create(file)
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		return startOnDisk(t, out, append(flags, "-o", "json")...)
	}, func(t *testing.T, file string) string { return read(t, file) }},
	{"recording", func(t *testing.T, file string, flags ...string) *onDisk {
		return startOnDisk(t, outputFile(t), append([]string{"record", file}, flags...)...)
	}, func(t *testing.T, file string) string {
		out, err := command(t, "replay", file, "--raw", "-o", "json").Output()
		var exit *exec.ExitError
		if err != nil && !(errors.As(err, &exit) && strings.Contains(string(exit.Stderr), "it is cut off")) {
			t.Fatal(err)
		}
		return string(out)
	}},
}

// TestAFullDiskIsOutlived fills the disk by a storm, makes room, and looks at what is
// there.
func TestAFullDiskIsOutlived(t *testing.T) {
	kerneltest.Require(t)
	for _, test := range toDisk {
		t.Run(test.name, func(t *testing.T) {
			ns := kerneltest.NewNetns(t)
			dir, makeRoom := smallDisk(t)
			file := filepath.Join(dir, "out")
			trace := test.start(t, file, "--raw", "--netns", inodeOf(ns), "-v")
			w := startWitness(t, probe.Options{SelfTransitions: true})
			connectOnce(t, ns, "901")
			kerneltest.Storm(t, ns, 3000)
			ns.Settle(t)
			trace.awaitWord(t, "no space left on device: the trace goes on")
			makeRoom()
			trace.awaitWord(t, "there is room again")
			connectOnce(t, ns, "902")
			happened, others := w.end(t, ns)
			trace.endIncomplete(t)

			a := ofJSON(t, test.shown(t, file))
			if a.stop == nil || a.stop.Shown != uint64(len(a.shown)) || a.stop.Lost != 0 || a.stop.Unwritten != a.lost {
				t.Fatalf("the last record is %+v: %d transitions are shown, %d events lost", a.stop, len(a.shown), a.lost)
			}
			if len(others) > 0 || uint64(len(a.shown))+a.lost != uint64(len(happened)) || a.lost == 0 {
				t.Errorf("%d shown and %d not written, of %d that happened, and %d events of other kinds",
					len(a.shown), a.lost, len(happened), len(others))
			}
			a.requireInOrder(t, happened)
			if n := a.count("901", 0, a.lastHole); n != ofClient {
				t.Errorf("before the storm %d transitions of a client are shown, want %d", n, ofClient)
			}
			if n := a.count("902", a.lastHole, len(a.shown)); n != ofClient {
				t.Errorf("behind the hole %d transitions of a client are shown, want %d", n, ofClient)
			}
		})
	}
}

// TestAFullDiskToTheEnd leaves no room: what is there is whole lines, and what is not
// is counted.
func TestAFullDiskToTheEnd(t *testing.T) {
	kerneltest.Require(t)
	for _, test := range toDisk {
		t.Run(test.name, func(t *testing.T) {
			ns := kerneltest.NewNetns(t)
			dir, _ := smallDisk(t)
			file := filepath.Join(dir, "out")
			trace := test.start(t, file, "--raw", "--netns", inodeOf(ns))
			w := startWitness(t, probe.Options{SelfTransitions: true})
			kerneltest.Storm(t, ns, 3000)
			ns.Settle(t)
			happened, _ := w.end(t, ns)
			trace.endIncomplete(t)
			a := ofJSON(t, test.shown(t, file))
			// The replay of a recording has a last record, whatever that has.
			if (a.stop != nil) != (test.name == "recording") || len(a.shown) == 0 {
				t.Errorf("%d transitions are there, and the last record is %+v", len(a.shown), a.stop)
			}
			if n := numberBefore(t, trace.heard(), " events could not be written"); uint64(len(a.shown))+n != uint64(len(happened)) {
				t.Errorf("%d are there, %d could not be written, and %d have happened", len(a.shown), n, len(happened))
			}
		})
	}
}

// TestAFullDiskAtTheBeginning is told at once, by who cannot write the first line.
func TestAFullDiskAtTheBeginning(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	cmd := command(t)
	var said shared
	cmd.Stdout, cmd.Stderr = full, &said
	requireExit(t, cmd, &said.text, exitFailed, "tcpstates: write the events: write /dev/stdout: no space left on device\n")
}

// TestANonBlockingOutputIsWaitedFor has somebody else make the command's pipe
// non-blocking, as who shares it may.
func TestANonBlockingOutputIsWaitedFor(t *testing.T) {
	kerneltest.Require(t)
	ns := kerneltest.NewNetns(t)
	p := aPipe(t)
	trace := startLive(t, p.out, "--raw", "-o", "json", "-v", "--netns", inodeOf(ns))
	if err := unix.SetNonblock(int(p.out.Fd()), true); err != nil { // of the open file, which both have
		t.Fatal(err)
	}
	p.out.Close()
	w := startWitness(t, probe.Options{SelfTransitions: true})
	p.begin(trace)
	kerneltest.Storm(t, ns, 200)
	ns.Settle(t)
	p.end(trace)
	connectOnce(t, ns, "902")
	p.awaitPort(t, "902")
	happened, _ := w.end(t, ns)
	trace.end(t)
	p.goneOff()
	if a := ofJSON(t, p.shown()); len(a.shown) != len(happened) || a.lost != 0 {
		t.Errorf("%d shown and %d lost, of %d", len(a.shown), a.lost, len(happened))
	}
}
