package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"
)

// child is the command that a trace is made of, with all that comes of it: it runs as
// it would without a trace, whatever becomes of that.
type child struct {
	*app
	ctx     context.Context // ends with a signal
	cmd     *exec.Cmd
	linger  time.Duration
	timeout time.Duration // zero: none
	signals *signals
	began   time.Time     // when the trace began to be made
	setup   time.Duration // that this has taken

	source  tracer
	quiet   *quiet
	begun   chan struct{} // the command is about to be run
	done    chan struct{} // the command has ended, or never was, and nobody looks after it
	over    chan struct{} // the trace is
	left    sync.Once
	state   *os.ProcessState
	failed  error // why it could not be run
	expired bool  // it ran for too long, and was ended
	asked   bool  // a signal has asked it to end
}

// newChild finds the command, as a shell would.
func (a *app) newChild(ctx context.Context, flags *execFlags, args []string) (*child, error) {
	path, err := exec.LookPath(args[0])
	switch {
	case err == nil:
	case errors.Is(err, exec.ErrDot): // PATH asks for the current directory
		path = "." + string(os.PathSeparator) + path
	case errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist):
		return nil, coded{exitNotFound, fmt.Errorf("exec %s: there is no such command: nothing was traced", args[0])}
	default:
		return nil, notExecutable(args[0], err)
	}
	cmd := exec.Command(path, args[1:]...)
	cmd.Args[0] = args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.stdin, a.stdout, a.stderr
	return &child{
		app: a, ctx: ctx, cmd: cmd, linger: time.Duration(flags.linger), timeout: time.Duration(flags.timeout),
		began: time.Now(), quiet: newQuiet(), begun: make(chan struct{}), done: make(chan struct{}), over: make(chan struct{}),
	}, nil
}

// notExecutable is the error of a command that there is.
func notExecutable(name string, err error) error {
	var path *fs.PathError
	var lookup *exec.Error
	switch {
	case errors.As(err, &lookup):
		err = lookup.Err
	case errors.As(err, &path):
		err = path.Err
	}
	return coded{exitNotExecutable, fmt.Errorf("exec %s: it cannot be executed: %w: nothing was traced", name, err)}
}

// took tells how long it has taken to make the trace; nothing of no child.
func (c *child) took() string {
	if c == nil {
		return ""
	}
	c.setup = time.Since(c.began)
	return fmt.Sprintf(", attached in %d ms", c.setup.Milliseconds())
}

// giveUpUnbegun ends the process when a signal has come and the command is not run yet, as
// nobody takes what is to be said before.
func (c *child) giveUpUnbegun() {
	select {
	case <-c.begun:
		return
	case <-time.After(c.patience):
	}
	c.tellBriefly("tcpstates: exec: ended by a signal before the command was run\n")
	c.exit(exitFailed)
}

// start starts the command, now that tracing by the source has begun.
func (c *child) start(source tracer) error {
	close(c.begun)
	c.source, c.signals = source, catchSignals() // which have ended all until now
	if c.ctx.Err() != nil {
		c.failed = errors.New("exec: ended by a signal before the command was run")
		close(c.done)
		return c.failed
	}
	c.signals.restoreIgnored()
	err := c.cmd.Start()
	if errors.Is(err, syscall.ENOEXEC) && isText(c.cmd.Path) {
		err = c.startAsScript()
	}
	if err != nil {
		c.failed = notExecutable(c.cmd.Args[0], err)
		close(c.done)
		return c.failed
	}
	go c.supervise()
	return nil
}

// isText tells whether a file may be a script: its beginning has no NUL.
func isText(path string) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	var head [80]byte
	n, err := file.Read(head[:])
	return err == nil && !slices.Contains(head[:n], 0)
}

// startAsScript starts what does not say what it is to be run by: a shell's script, as
// execvp(3) and shells have it.
func (c *child) startAsScript() error {
	before := c.cmd
	c.cmd = exec.Command("/bin/sh", append([]string{before.Path}, before.Args[1:]...)...)
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = before.Stdin, before.Stdout, before.Stderr
	return c.cmd.Start()
}

// supervise passes signals on until the command has ended, and ends the trace when
// nothing more is to come of it.
func (c *child) supervise() {
	defer close(c.done)
	defer c.signals.stop()
	var expiry <-chan time.Time
	if c.timeout > 0 {
		timer := time.NewTimer(c.timeout)
		defer timer.Stop()
		expiry = timer.C
	}
	c.await(expiry)
	if c.awaitDescendants(expiry) {
		c.awaitQuiet()
	}
	c.source.Stop()
}

// grace is how long a command that ran for too long has to end by itself.
const grace = 5 * time.Second

// await waits for the command to end.
func (c *child) await(expiry <-chan time.Time) {
	waited := make(chan struct{})
	go func() {
		_ = c.cmd.Wait() // the state says it
		close(waited)
	}()
	var kill <-chan time.Time
	for {
		select {
		case <-waited:
			c.state = c.cmd.ProcessState
			return
		case s := <-c.signals.come:
			if !c.signals.reachesBoth(s) {
				c.send(s)
			}
			c.asked = c.asked || asksToEnd(s)
		case <-expiry:
			c.expired = true
			c.send(syscall.SIGTERM)
			kill = time.After(grace)
		case <-kill:
			c.send(syscall.SIGKILL)
		}
	}
}

// send sends a signal to the command, unless it has ended.
func (c *child) send(s os.Signal) {
	if err := c.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		fmt.Fprintf(c.stderr, "tcpstates: exec: the signal %s did not reach the command: %v\n", signalName(s.(syscall.Signal)), err)
	}
}

// treePause is how long it takes at most to see that the last process has ended.
const treePause = 20 * time.Millisecond

// awaitDescendants waits until the last process that the command has left has ended. It
// is false if a signal has ended that.
func (c *child) awaitDescendants(expiry <-chan time.Time) bool {
	pause := time.NewTicker(treePause)
	defer pause.Stop()
	for {
		alive, _, err := c.source.Followed()
		if err != nil || alive == 0 || c.asked || c.expired {
			return true
		}
		select {
		case s := <-c.signals.come:
			if asksToEnd(s) {
				return false
			}
		case <-expiry:
			return true
		case <-c.over:
			return false
		case <-pause.C:
		}
	}
}

// awaitQuiet waits until no socket of the command is open any more, for so long at most
// as the trace is to linger.
func (c *child) awaitQuiet() {
	c.quiet.wanted.Store(ktime())
	_ = c.source.Nudge() // else the linger is waited for
	linger := time.NewTimer(c.linger)
	defer linger.Stop()
	for {
		select {
		case <-c.quiet.come:
			return
		case <-linger.C:
			return
		case <-c.over:
			return
		case s := <-c.signals.come:
			if asksToEnd(s) {
				return
			}
		}
	}
}

// leave says that the trace is over, and waits for the command, if it was started: until
// nobody asks the source any more. It may be called more than once.
func (c *child) leave() {
	if c == nil {
		return
	}
	c.left.Do(func() { close(c.over) })
	if c.source == nil {
		return
	}
	<-c.done
}
