// Package cli is the command line: it reads the flags, joins the rooms of the
// project for what they ask, and turns errors into sentences and exit codes.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"tcpstates/internal/event"
	"tcpstates/internal/feature"
	"tcpstates/internal/minisock"
	"tcpstates/internal/names"
	"tcpstates/internal/pipeline"
	"tcpstates/internal/privilege"
	"tcpstates/internal/probe"
	"tcpstates/internal/snapshot"
	"tcpstates/internal/wire"
)

// The exit codes. Beside them exec has those of the commands that it runs.
const (
	exitDone          = 0
	exitFailed        = 1
	exitUsage         = 2
	exitCannot        = 3
	exitRuleFailed    = 10
	exitTimedOut      = 11
	exitInconclusive  = 12
	exitNotExecutable = 126 // as a shell has these two (POSIX, Shell Command Language, 2.8.2)
	exitNotFound      = 127
)

// version is the tool's, set by the linker.
var version = "devel"

// tracer is a source of live events; *probe.Tracer is the real one.
type tracer interface {
	pipeline.Source
	// Backend names the kernel mechanisms in use, Knows says what they tell.
	Backend() string
	Knows() probe.Knows
	// Undecided are the filters, of those that the kernel may decide, that it does not.
	Undecided() []string
	// Refused is why better ones are not, if they should be.
	Refused() error
	Stop()
	Totals() (probe.Totals, error)
	// Followed is how many processes are followed, and how many could not be, and
	// Nudge has Read give a tick as soon as it has given all that has come until then.
	Followed() (alive, failed uint64, err error)
	Nudge() error
	Close() error
}

// seeder looks at the sockets that exist already, and tells a trace of them.
// It may run beside the trace.
type seeder func(found func(wire.Found)) (snapshot.Report, error)

// app is what the command line acts on; tests put their own in its place.
type app struct {
	args           []string // of the command line
	stdin          io.Reader
	stdout, stderr io.Writer
	answers        io.Writer // where - as a file for answers is: stdout, also where events go elsewhere
	getenv         func(string) string
	open           func(probe.Options) (tracer, seeder, error)
	// loadSummary is probe.LoadSummary.
	loadSummary func(probe.Options) (kernelCounter, error)
	clock       *clock
	// exit is os.Exit.
	exit func(code int)
	// patience is how long the last events may wait for who reads the output.
	patience time.Duration
	// sockets is snapshot.List.
	sockets func(snapshot.ListOptions) (snapshot.Listing, error)
	// minisocks makes a snapshot.Minisocks.
	minisocks func() minisock.Lister
	// processes is snapshot.Processes.
	processes func(pidNamespace uint32) ([]event.Event, error)
	// missingForWalk is feature.MissingForWalk.
	missingForWalk func() string
	// ask is that of a feature.List.
	ask func(feature.ID) feature.Result
	// become is privilege.User.Become.
	become func(privilege.User) error
	// lookup is net.Resolver.LookupAddr, services is names.ServicesFile.
	lookup   names.Lookup
	services string
	// drop is privilege.Drop.
	drop func(privilege.Needs) (privilege.Report, error)
	// hangups is what SIGHUP does.
	hangups hangups
}

// Main runs the command with the process's arguments and streams, and returns
// its exit code.
func Main() int {
	// Writing to a closed pipe shall be an error like any other, and no death. To ignore
	// the signal would be handed down to what exec runs.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	// From the first signal on the trace winds up; a second one kills, should
	// the reader of the output not let it.
	context.AfterFunc(ctx, stop)

	a := &app{
		stdin:  os.Stdin,
		stdout: os.Stdout,
		stderr: os.Stderr,
		getenv: os.Getenv,
		open: func(o probe.Options) (tracer, seeder, error) {
			t, err := probe.Open(o)
			if err != nil {
				return nil, nil, err
			}
			return t, func(found func(wire.Found)) (snapshot.Report, error) {
				return snapshot.Seed(t.Lives(), o.PIDNamespace, t.TakeTypes(), found)
			}, nil
		},
		loadSummary:    func(o probe.Options) (kernelCounter, error) { return asCounter(probe.LoadSummary(o)) },
		clock:          newClock(),
		exit:           os.Exit,
		patience:       3 * time.Second,
		sockets:        snapshot.List,
		minisocks:      func() minisock.Lister { return &snapshot.Minisocks{} },
		processes:      snapshot.Processes,
		missingForWalk: feature.MissingForWalk,
		ask:            probe.NewList(&probe.Options{}).Ask,
		become:         privilege.User.Become,
		drop:           privilege.Drop,
		lookup:         (&net.Resolver{PreferGo: true}).LookupAddr,
		services:       names.ServicesFile,
	}
	a.hangups.hear(stop)
	return a.run(ctx, os.Args[1:])
}

// run runs the command and reports its error.
func (a *app) run(ctx context.Context, args []string) int {
	a.args, a.answers = args, a.stdout
	root := a.newRoot()
	wrapHelp(root, widthOf(a.stdout)())
	root.SetArgs(args)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	err := root.ExecuteContext(ctx)
	if own := new(coded); err == nil || errors.Is(err, syscall.EPIPE) && !errors.As(err, own) {
		return exitDone // who closes the pipe has seen enough
	}
	if told := new(toldError); !errors.As(err, told) {
		for _, each := range joined(err) {
			fmt.Fprintf(a.stderr, "tcpstates: %v\n", each)
		}
	}
	return exitCode(err)
}

// tellBriefly tells the user something, and waits for nobody who does not read that.
func (a *app) tellBriefly(text string) {
	told := make(chan struct{})
	go func() {
		defer close(told)
		_, _ = a.stderr.Write([]byte(text)) // nobody is left to tell
	}()
	select {
	case <-told:
	case <-time.After(time.Second):
	}
}

// joined are the errors that errors.Join has made one of, with a line for each.
func joined(err error) (all []error) {
	several, ok := err.(interface{ Unwrap() []error })
	if !ok || err.Error() != errors.Join(several.Unwrap()...).Error() {
		return []error{err}
	}
	for _, each := range several.Unwrap() {
		all = append(all, joined(each)...)
	}
	return all
}

// usageError is a command line that asks for what there is not.
type usageError struct{ error }

func usagef(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

// coded is an error with an exit code of its own.
type coded struct {
	code int
	error
}

// Unwrap gives the error that has the code.
func (e coded) Unwrap() error { return e.error }

func exitCode(err error) int {
	var usage usageError
	var missing *feature.Missing
	var own coded
	switch {
	case errors.As(err, &own):
		return own.code
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &missing):
		return exitCannot
	}
	return exitFailed
}
