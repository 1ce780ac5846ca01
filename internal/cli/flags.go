package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"tcpstates/internal/conn"
	"tcpstates/internal/output"
	"tcpstates/internal/probe"
)

// showFlags are the flags that say how events are shown.
type showFlags struct {
	format    string
	wide, csv bool
	columnFlags
}

func (f *showFlags) bind(flags *pflag.FlagSet) {
	flags.StringVarP(&f.format, "output", "o", output.Formats[0].Name, "the `FORMAT`, see below")
	flags.BoolVarP(&f.wide, "wide", "w", false, "show more: as -o wide, or with -o bcc and -o libbpf as those tools do")
	flags.BoolVarP(&f.csv, "csv", "s", false, "comma-separated values: as -o csv, or with -o bcc as BCC prints them")
	f.columnFlags.bind(flags)
}

// outputFormat is the format that the flags ask for, or the error that they
// contradict each other.
func (f *showFlags) outputFormat(formatGiven bool) (output.Format, error) {
	name := f.format
	if f.csv && !formatGiven {
		name = "csv"
	}
	format, found := output.Find(name)
	switch {
	case !found:
		return format, usagef("-o %s: there is no such format: it takes %s", strconv.Quote(name), formatNames())
	case f.csv && !format.HasCSV:
		return format, usagef("-s with -o %s: -s stands for -o csv, and goes with -o bcc alone beside that", name)
	case f.wide && !format.HasWide:
		return format, usagef("-w with -o %s: -w widens tables, and %s has no columns", name, name)
	}
	return format, nil
}

// options are what the flags ask of a format.
func (f *showFlags) options(a *app) output.Options {
	return output.Options{
		Out:   a.stdout,
		Notes: a.stderr,
		Width: widthOf(a.stdout),
		Color: wantsColor(a.stdout, a.getenv),
		Wide:  f.wide,
		CSV:   f.csv,
	}
}

func formatNames() string {
	var names []string
	for _, format := range output.Formats {
		names = append(names, format.Name)
	}
	return orList(names)
}

// orList is "a, b or c".
func orList(names []string) string {
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// viewFlags are the flags of what is shown, and how, as they were given: of a live
// trace and of a recording.
type viewFlags struct {
	showFlags
	fileFlags
	journal bool
	filterFlags
	expectFlags
	time, elapsed bool
	every         span
	maxConns      positive
	count         positive
	duration      span
	verbose       bool
}

// liveFlags are the flags of how a live trace is made.
type liveFlags struct {
	follow      bool // what this process starts, and nothing else
	pidns       bool
	acceptProbe bool
	buffer      byteSize
	most        positive // events a second
	backend     chosen[probe.Backend]
	transport   chosen[probe.Transport]
	btf         string
	dropTo      identity
	readyFile   string
	onFailure   string   // a recording
	names       []string // of these flags
}

// traceFlags are the flags of a command that traces, or replays what another has
// recorded.
type traceFlags struct {
	viewFlags
	liveFlags
	from string // a recording; empty: live
}

// chosen is a flag that takes one of several names.
type chosen[T any] struct {
	value T
	name  string
	parse func(name string) (T, error)
}

// Set implements pflag.Value.
func (c *chosen[T]) Set(name string) (err error) {
	c.value, err = c.parse(name)
	c.name = name
	return err
}

// String implements pflag.Value.
func (c *chosen[T]) String() string { return c.name }

// Type implements pflag.Value.
func (c *chosen[T]) Type() string { return "NAME" }

// newTraceFlags are the flags as they are if none is given.
func newTraceFlags() traceFlags {
	return traceFlags{
		viewFlags: viewFlags{maxConns: conn.DefaultMaxConns},
		liveFlags: liveFlags{buffer: probe.DefaultBufferSize},
	}
}

func (f *viewFlags) bind(flags *pflag.FlagSet) {
	f.bindView(flags)
	flags.VarP(&f.count, "count", "n", "end after so many events")
	flags.Var(&f.duration, "duration", "end after this time: 10s, 5m")
}

// bindView binds all but the flags that say when to end.
func (f *viewFlags) bindView(flags *pflag.FlagSet) {
	f.showFlags.bind(flags)
	flags.BoolVarP(&f.time, "time", "T", false, "show the time of day (all but bcc and libbpf do by default)")
	flags.BoolVarP(&f.elapsed, "timestamp", "t", false, "show the seconds since the first event")
	f.fileFlags.bind(flags)
	flags.BoolVarP(&f.journal, "journal", "Y", false, "send each event to systemd-journald, too, with fields such as TCPSTATES_NEW_STATE")
	f.filterFlags.bind(flags, allFilters)
	flags.Var(&f.every, "every", "print the summary so far each time this time has passed: 5s, 1m")
	flags.Var(&f.maxConns, "max-conns", "follow up to so many connections at a time; when there are more, the quietest is forgotten")
	f.expectFlags.bind(flags)
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "say on stderr what is done, and the kernel's own words where it refuses")
}

func (f *liveFlags) bind(to *pflag.FlagSet) {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	bindPIDNS(flags, &f.pidns)
	flags.BoolVar(&f.acceptProbe, "accept-probe", false,
		"learn who accepts each connection, and when, by a tracepoint that slows every system call of the machine by some 30 %")
	flags.Var(&f.buffer, "buffer", "the size of the buffer between kernel and command, a power of two")
	flags.Var(&f.most, "max-events-per-second",
		"show no more events than so many, by a sample of the connections, each from its beginning to its end; it says which part that is")
	f.backend.parse, f.transport.parse = probe.ParseBackend, probe.ParseTransport
	flags.Var(&f.backend, "backend", "use this backend and no other: "+strings.Join(probe.BackendNames(), ", "))
	flags.Var(&f.transport, "transport", "use this way out of the kernel and no other: "+strings.Join(probe.TransportNames(), ", "))
	flags.StringVar(&f.btf, "btf", "", "take the kernel's type information from this `FILE`, for a kernel that has none itself")
	flags.Var(&f.dropTo, "drop-to", "trace as this user, a name, UID or UID:GID, once the programs are in the kernel")
	flags.StringVar(&f.readyFile, "ready-file", "", "write the process id to this `PATH` once tracing has begun")
	// For tests and scripts; the name may change.
	_ = flags.MarkHidden("ready-file") // fails for a flag that is not there
	flags.VisitAll(func(flag *pflag.Flag) {
		f.names = append(f.names, flag.Name)
		to.AddFlag(flag)
	})
}

func (f *traceFlags) bind(flags *pflag.FlagSet) {
	f.viewFlags.bind(flags)
	f.liveFlags.bind(flags)
	f.bindOnFailure(flags)
	bindFrom(flags, &f.from)
}

func (f *liveFlags) bindOnFailure(flags *pflag.FlagSet) {
	const name = "record-on-failure"
	flags.StringVar(&f.onFailure, name, "", "keep a recording in this `FILE` unless all is as expected, of the newest events, up to "+byteSize(ringOnFailure).String())
	f.names = append(f.names, name)
}

func bindFrom(flags *pflag.FlagSet, from *string) {
	flags.StringVar(from, "from", "", "show what this `FILE` has recorded, as tcpstates record writes it, instead of what happens")
}

// pidNamespace is the PID namespace whose process ids are shown: its own, or zero
// for the machine's.
func pidNamespace(own bool) (uint32, error) {
	if !own {
		return 0, nil
	}
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &st); err != nil {
		return 0, fmt.Errorf("find the PID namespace for --pidns: %w: is /proc mounted?", err)
	}
	return uint32(st.Ino), nil
}

func bindPIDNS(flags *pflag.FlagSet, pidns *bool) {
	flags.BoolVar(pidns, "pidns", false, "show process ids as the command's own PID namespace has them, for use in a container")
}

// checkFrom refuses flags of a live trace for a recording.
func (f *traceFlags) checkFrom(given func(name string) bool) error {
	for _, name := range f.names {
		if f.from != "" && given(name) {
			return usagef("--%s with --from: how it was traced is in the recording: leave out one of them", name)
		}
	}
	return nil
}

// transitionsFlags are the flags of the command without a name.
type transitionsFlags struct {
	traceFlags
	summary, raw, group bool
	inKernel            inKernel
}

func (f *transitionsFlags) bind(flags *pflag.FlagSet) {
	f.traceFlags.bind(flags)
	f.bindSubject(flags)
	f.inKernel.bind(flags)
}

func (f *transitionsFlags) bindSubject(flags *pflag.FlagSet) {
	flags.BoolVar(&f.summary, "summary", false, "end with a summary on stderr: why connections ended, percentiles of times, slowest handshakes")
	f.bindShape(flags)
}

// bindShape binds the flags of what is shown instead of plain transitions.
func (f *transitionsFlags) bindShape(flags *pflag.FlagSet) {
	flags.BoolVar(&f.group, "group", false, "show connection by connection, each when it ends, with its states as a bar to scale; of table and wide")
	flags.BoolVar(&f.raw, "raw", false, "show what the tracepoint says, states set anew without a change included, and nothing more")
}

// outputFormat is the format that the flags ask for.
func (f *viewFlags) outputFormat(formatGiven bool) (output.Format, error) {
	format, err := f.showFlags.outputFormat(formatGiven)
	if err == nil && f.elapsed && !format.HasElapsed {
		err = usagef("-t with -o %s: that tool has no such column: leave out -t, or use -T", format.Name)
	}
	return format, err
}
