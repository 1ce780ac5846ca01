package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"tcpstates/internal/netns"
)

// running is a tracer's process.
type running struct {
	cmd      *exec.Cmd
	stderr   words
	begin    time.Time // of the process
	programs []*ebpf.Program
	others   map[ebpf.ProgramID]bool // programs that were there before
	ended    chan struct{}           // closed when the process has ended
	err      error                   // of its end; read after that
}

// words keeps what a process says. It is safe for concurrent use.
type words struct {
	mu  sync.Mutex
	all []byte
}

// Write implements io.Writer.
func (w *words) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, b...)
	return len(b), nil
}

// bytes is what was said so far.
func (w *words) bytes() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Clone(w.all)
}

// Tracers are started by the main thread, as they are to end with it.
func init() { runtime.LockOSThread() }

// start starts a tracer that writes to the given file. It ends with this process
// at the latest. It is to be called by the main goroutine.
func start(command []string, out *os.File) (*running, error) {
	others, err := programIDs()
	if err != nil {
		return nil, err
	}
	r := &running{cmd: exec.Command(command[0], command[1:]...), others: others, ended: make(chan struct{})}
	r.cmd.Stdout, r.cmd.Stderr = out, &r.stderr
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGINT} // when the thread that started it ends
	r.begin = time.Now()
	if err := r.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", command[0], err)
	}
	go func() {
		r.err = r.cmd.Wait()
		close(r.ended)
	}()
	return r, nil
}

// programIDs is the set of the programs that the kernel has.
func programIDs() (map[ebpf.ProgramID]bool, error) {
	ids := map[ebpf.ProgramID]bool{}
	for id := ebpf.ProgramID(0); ; ids[id] = true {
		var err error
		if id, err = ebpf.ProgramGetNextID(id); errors.Is(err, os.ErrNotExist) {
			return ids, nil
		} else if err != nil {
			return nil, fmt.Errorf("list the BPF programs: %w", err)
		}
	}
}

// attachLimit is how long a tracer may take to begin; bpftrace compiles first.
const attachLimit = 30 * time.Second

// awaitAttached waits until a program of the tracer has been run for a listener
// that is opened in the namespace again and again, and until the tracer has
// calmed down. It works for all tracers alike.
func (r *running) awaitAttached(ns *netns.Namespace) error {
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		return fmt.Errorf("turn on the statistics of BPF programs: %w", err)
	}
	defer stats.Close()
	for limit := time.Now().Add(attachLimit); ; {
		if err := ns.Do(poke); err != nil {
			return err
		}
		if err := r.findPrograms(); err != nil {
			return err
		}
		if work, err := r.work(); err != nil {
			return err
		} else if work > 0 {
			return r.calm()
		}
		if err := r.pause(10 * time.Millisecond); err != nil {
			return err
		}
		if time.Now().After(limit) {
			return fmt.Errorf("%s does not begin to trace within %v: %s", r.cmd.Path, attachLimit, string(r.stderr.bytes()))
		}
	}
}

// poke makes the tracepoint tell of two transitions.
func poke() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return errors.Join(unix.Listen(fd, 1), unix.Close(fd))
}

// findPrograms opens the programs that are there since the tracer was started.
func (r *running) findPrograms() error {
	ids, err := programIDs()
	if err != nil {
		return err
	}
	for id := range ids {
		if r.others[id] {
			continue
		}
		program, err := ebpf.NewProgramFromID(id)
		if errors.Is(err, os.ErrNotExist) {
			continue // it was for the tracer's start
		} else if err != nil {
			return fmt.Errorf("open a tracer's program: %w", err)
		}
		r.others[id] = true
		r.programs = append(r.programs, program)
	}
	return nil
}

// work is how long all of the tracer's programs have run, while statistics were on.
func (r *running) work() (sum time.Duration, err error) {
	for _, program := range r.programs {
		stats, err := program.Stats()
		if err != nil {
			return 0, fmt.Errorf("read the statistics of a tracer's program: %w", err)
		}
		sum += stats.Runtime
	}
	return sum, nil
}

// cpu is what the process has used of CPUs, all of its threads, in user space and
// in system calls, to the nanosecond. It is 0 without a process.
func (r *running) cpu() (time.Duration, error) {
	if r == nil {
		return 0, nil
	}
	// clock_getcpuclockid(3) makes the clock of a process so: CPUCLOCK_SCHED is 2.
	clock := ^r.cmd.Process.Pid<<3 | 2
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(clock), &ts); err != nil {
		return 0, fmt.Errorf("read the CPU time of %s: %w", r.cmd.Path, err)
	}
	return time.Duration(ts.Nano()), nil
}

const (
	calmStep  = 100 * time.Millisecond
	calmWork  = 4 * time.Millisecond // in a step
	calmLimit = 15 * time.Second
)

// calm waits until the tracer has worked off what it has: it uses little of a
// CPU then.
func (r *running) calm() error {
	if r == nil {
		return nil
	}
	for limit := time.Now().Add(calmLimit); time.Now().Before(limit); {
		before, err := r.cpu()
		if err != nil {
			return err
		}
		if err := r.pause(calmStep); err != nil {
			return err
		}
		after, err := r.cpu()
		if err != nil {
			return err
		}
		if after-before < calmWork {
			break
		}
	}
	return nil
}

// pause waits for a time, in which the tracer must not end.
func (r *running) pause(d time.Duration) error {
	select {
	case <-r.ended:
		return fmt.Errorf("%s has ended (%v): %s", r.cmd.Path, r.err, strings.TrimSpace(string(r.stderr.bytes())))
	case <-time.After(d):
		return nil
	}
}

// memory is a measure of the process's memory in bytes, of those in
// proc_pid_status(5).
func (r *running) memory(measure string) (float64, error) {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(r.cmd.Process.Pid) + "/status")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(status), measure+":")
	value, _, _ := strings.Cut(strings.TrimSpace(rest), " kB")
	kB, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", measure, err)
	}
	return kB * 1024, nil
}

// endLimit is how long a tracer may take to end.
const endLimit = 20 * time.Second

// end interrupts the tracer, as Ctrl-C does, waits until it has ended, and lets
// go of its programs. It may be called more than once.
func (r *running) end() error {
	if r == nil {
		return nil
	}
	for _, program := range r.programs {
		program.Close()
	}
	r.programs = nil
	_ = r.cmd.Process.Signal(os.Interrupt) // fails if it has ended
	select {
	case <-r.ended:
		return nil
	case <-time.After(endLimit):
		_ = r.cmd.Process.Kill()
		<-r.ended
		return fmt.Errorf("%s does not end when interrupted", r.cmd.Path)
	}
}
