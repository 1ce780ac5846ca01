package cli

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"tcpstates/internal/output"
	"tcpstates/internal/report"
)

// execFlags are the flags of exec as they were given.
type execFlags struct {
	transitionsFlags
	linger  delay
	timeout span
}

// defaultLinger is how long the last transitions are waited for, unless it is told
// otherwise.
const defaultLinger = 500 * time.Millisecond

// newExec makes the command that traces another.
func (a *app) newExec() *cobra.Command {
	flags := &execFlags{transitionsFlags: transitionsFlags{traceFlags: newTraceFlags()}, linger: delay(defaultLinger)}
	cmd := &cobra.Command{
		Use:   "exec [flags] -- COMMAND [ARGUMENTS]",
		Short: "Run a command, and show what its TCP connections do",
		Long: `tcpstates exec runs a command once tracing has begun, and shows every transition of
its sockets, and of those of all its descendants, on stderr or in the file of
--file. stdin, stdout and signals are the command's, and the exit code is its own
when it fails. When the last process has ended and its sockets are closed, or
--linger has passed, exec ends with a summary. With --expect it answers whether
the connections did what they should: see tcpstates --help for exit codes.`,
		Example: `  tcpstates exec -- curl -s https://example.com -o /dev/null
  tcpstates exec --expect 'all(conns, .connect_ms < 50)' -- ./smoke-test.sh
  tcpstates exec -D 5432 --file db.log -- make integration
  tcpstates exec --junit tcp.xml --expect-file rules.yaml -- go test ./...`,
		Args:              oneCommand,
		ValidArgsFunction: commandNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.exec(cmd.Context(), flags, args, cmd.Flags().Changed)
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().SetInterspersed(false) // flags behind the command are its own
	flags.viewFlags.bindView(cmd.Flags())
	flags.bindShape(cmd.Flags())
	flags.liveFlags.bind(cmd.Flags())
	flags.bindOnFailure(cmd.Flags())
	cmd.Flags().Lookup("file").Usage = "write to this `PATH`, at its end, instead of stderr"
	cmd.Flags().Var(&flags.linger, "linger", "wait so long at most for the last transitions when all processes have ended; TIME_WAIT is not waited for")
	cmd.Flags().Var(&flags.timeout, "timeout", "end the command after this time, by SIGTERM and 5 s later SIGKILL, and stop following what it has left")
	setFormats(cmd, func(output.Format) bool { return true })
	return cmd
}

// oneCommand refuses to run nothing.
func oneCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 || args[0] == "" {
		return usagef("%s takes a command to run: give it behind --, such as %[1]s -- curl localhost", cmd.CommandPath())
	}
	return nil
}

// exec runs a command and traces it.
func (a *app) exec(ctx context.Context, flags *execFlags, args []string, given func(name string) bool) error {
	show, err := flags.show(given)
	if err != nil {
		return err
	}
	show.summary = show.subject != output.OfRaw
	if err := errors.Join(flags.checkFiles(), flags.checkOnFailure()); err != nil {
		return err
	}
	c, err := a.newChild(ctx, flags, args)
	if err != nil {
		return errors.Join(err, a.answerUnjudged(&flags.expectFlags, err))
	}
	a.stdout = a.stderr // from here on stdout is the command's
	flags.follow = true
	flags.set.Follow()
	defer context.AfterFunc(ctx, c.giveUpUnbegun)()
	// Signals are the command's, whose end is that of the trace.
	recorder := flags.recorderOnFailure(a)
	err = a.trace(context.WithoutCancel(ctx), &flags.traceFlags, show, company{child: c, recorder: recorder})
	c.leave()
	if c.failed != nil {
		err = c.failed // of which nothing was traced
	}
	return errors.Join(err, recorder.close())
}

// outcome is how the command ended if it has not succeeded, and the error that has the
// exit code; nil if it has, was never run, or there is none.
func (c *child) outcome() (report.Outcome, error) {
	switch {
	case c == nil || c.state == nil || c.state.Success() && !c.expired:
		return report.Passed, nil
	case c.expired:
		return report.TimedOut, coded{exitTimedOut, fmt.Errorf("exec: the command still ran after %s, and was ended: see --timeout", c.timeout)}
	}
	code, how := howEnded(c.state.Sys().(syscall.WaitStatus))
	return report.CommandFailed, coded{code, fmt.Errorf("exec: the command %s", how)}
}

// wasRun tells whether there is a command that has run.
func (c *child) wasRun() bool { return c != nil && c.state != nil }

// wasAsked tells whether a signal has asked the command to end.
func (c *child) wasAsked() bool { return c != nil && c.asked }

// describe is the command for a report; nil if it was never run.
func (c *child) describe() *report.Command {
	if c.state == nil {
		return nil
	}
	told := &report.Command{Args: c.cmd.Args, Exit: c.state.ExitCode()}
	if status := c.state.Sys().(syscall.WaitStatus); status.Signaled() {
		told.Signal = signalName(status.Signal())
	}
	return told
}

// signalBase is what a shell adds to the number of the signal that has killed a command,
// to make an exit code of it (POSIX, Shell Command Language, 2.8.2).
const signalBase = 128

// howEnded is a command's exit code, as a shell has it, and in words.
func howEnded(status syscall.WaitStatus) (code int, how string) {
	if !status.Signaled() {
		return status.ExitStatus(), fmt.Sprintf("has exited with %d", status.ExitStatus())
	}
	return signalBase + int(status.Signal()), "was killed by " + signalName(status.Signal())
}

func signalName(s syscall.Signal) string {
	if name := unix.SignalName(s); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", int(s))
}
