package cli

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// passedOn are the signals that a command gets which somebody sends to who traces it.
var passedOn = []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2}

// ignoredAtStart are those that this process was started to ignore, as nohup(1) and
// shells without job control have it, and hands down so. Of other signals than SIGHUP
// and SIGINT Go's runtime does not let anybody know (runtime, sigInstallGoHandler).
var ignoredAtStart = func() (ignored []os.Signal) {
	for _, s := range passedOn {
		if signal.Ignored(s) {
			ignored = append(ignored, s)
		}
	}
	return ignored
}()

// signals are those that come while a command runs.
type signals struct {
	come chan os.Signal
}

func catchSignals() *signals {
	s := &signals{come: make(chan os.Signal, 16)}
	signal.Notify(s.come, passedOn...)
	return s
}

func (s *signals) stop() { signal.Stop(s.come) }

// restoreIgnored has a command that is started ignore what it would without a trace.
func (s *signals) restoreIgnored() {
	if len(ignoredAtStart) > 0 {
		signal.Ignore(ignoredAtStart...)
	}
}

// reachesBoth tells whether a terminal has sent the signal, and so to the command, too:
// it sends these to the whole foreground process group (termios(3), ISIG).
func (s *signals) reachesBoth(came os.Signal) bool {
	return (came == syscall.SIGINT || came == syscall.SIGQUIT) && isInForeground()
}

// isInForeground tells whether this process is in the foreground of its terminal, if it
// has one.
func isInForeground() bool {
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer tty.Close()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// asksToEnd tells whether the signal ends a process as a rule.
func asksToEnd(s os.Signal) bool {
	return s == syscall.SIGHUP || s == syscall.SIGINT || s == syscall.SIGQUIT || s == syscall.SIGTERM
}
