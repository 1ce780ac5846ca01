package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// benchmark is what is asked for, and what came of it so far.
type benchmark struct {
	*config
	sections []section
	tracers  []*tracer
	notes    []string
	results  map[string]results // by the sections' names
}

// bench runs each tracer in turn, several rounds, in each section, and prints the
// table.
func bench(args []string) error {
	b, err := newBenchmark(args)
	if err != nil {
		return err
	}
	if err := requireRoot(); err != nil {
		return err
	}
	begin := time.Now()
	for round := range b.rounds {
		for i := range b.sections {
			b.round(&b.sections[i], round)
		}
	}
	fmt.Println(b.text(time.Since(begin)))
	return nil
}

// newBenchmark reads the flags, and finds out what this machine has.
func newBenchmark(args []string) (*benchmark, error) {
	c := &config{release: kernelRelease()}
	var names, only, open string
	flags := flag.NewFlagSet("peers bench", flag.ContinueOnError)
	flags.StringVar(&c.tcpstates, "tcpstates", "./tcpstates", "the program that is measured")
	flags.StringVar(&c.load, "load", "bench/load", "the program that makes load")
	flags.StringVar(&c.libbpf, "libbpf-tools", "/usr/sbin/tcpstates", "tcpstates of libbpf-tools")
	flags.StringVar(&c.dir, "dir", "/dev/shm", "the folder for the tracers' output: all write to the same one")
	flags.BoolVar(&c.ipv6, "ipv6", false, "make load over IPv6")
	flags.IntVar(&c.rounds, "rounds", 5, "how often each is measured; the table has the medians")
	flags.DurationVar(&c.duration, "duration", 4*time.Second, "how long each load lasts")
	flags.IntVar(&c.held, "held", 100_000, "how many connections are open in the section durations")
	flags.StringVar(&open, "open", "1000,10000,100000,500000", "how many connections are open in the section open")
	flags.StringVar(&names, "sections", "", "only these sections: storm,200k,20k,latency,open,durations")
	flags.StringVar(&only, "tracers", "", "only tracers whose names begin so: tcpstates,bpftrace")
	if err := flags.Parse(args); err != nil {
		return nil, asUsage(err)
	}
	b := &benchmark{config: c, results: map[string]results{}}
	if err := errors.Join(b.chooseOpen(open), b.chooseSections(names)); err != nil {
		return nil, usageError{err}
	}
	if c.rounds < 1 || c.duration < 100*time.Millisecond || c.held < 1 || flags.NArg() > 0 {
		return nil, usageError{errors.New("there must be a round, 100 ms for it, a connection to hold, and nothing but flags")}
	}
	b.chooseTracers(only)
	return b, nil
}

// asUsage marks errors of flags, of which the package flag has told already.
func asUsage(err error) error {
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	return usageError{err}
}

func (b *benchmark) chooseOpen(list string) error {
	for word := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 {
			return fmt.Errorf("%q is no number of open connections", word)
		}
		b.open = append(b.open, n)
	}
	return nil
}

func (b *benchmark) chooseSections(list string) error {
	all := allSections(b.config)
	if list == "" {
		b.sections = all
		return nil
	}
	for name := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(all, func(s section) bool { return s.name == name })
		if i < 0 {
			return fmt.Errorf("there is no section %q", name)
		}
		b.sections = append(b.sections, all[i])
	}
	return nil
}

// chooseTracers leaves out what is not here, and says so.
func (b *benchmark) chooseTracers(only string) {
	prefixes := strings.Split(only, ",")
	for i := range tracers {
		t := &tracers[i]
		wanted := slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(t.name, prefix) })
		if !wanted && t.name != untraced.name {
			continue
		}
		if t.unavailable != nil {
			if why := t.unavailable(b.config); why != "" {
				b.notes = append(b.notes, fmt.Sprintf("%s was left out: %s.", t.name, why))
				continue
			}
		}
		b.tracers = append(b.tracers, t)
	}
}

// round measures each tracer once. One that fails is told of, and the rest goes
// on: what it has measured before stands.
func (b *benchmark) round(s *section, round int) {
	if b.results[s.name] == nil {
		b.results[s.name] = results{}
	}
	for _, t := range b.tracers {
		if !s.takes(t) {
			continue
		}
		fmt.Fprintf(os.Stderr, "round %d of %d, %s: %s\n", round+1, b.rounds, s.name, t.name)
		m, err := s.measure(b.config, t)
		if err != nil {
			b.notes = append(b.notes, fmt.Sprintf("%s in round %d of %s: %v.", t.name, round+1, s.name, err))
		}
		if m != nil {
			b.results[s.name][t.name] = append(b.results[s.name][t.name], m)
		}
	}
}

// text is the whole table with its notes.
func (b *benchmark) text(took time.Duration) string {
	var out bytes.Buffer
	for i := range b.sections {
		s := &b.sections[i]
		var names []string
		for _, t := range b.tracers {
			if s.takes(t) {
				names = append(names, t.name)
			}
		}
		fmt.Fprintln(&out, s.text(b.results[s.name], names))
	}
	for _, note := range append(b.explanations(), b.notes...) {
		fmt.Fprintln(&out, note)
	}
	fmt.Fprintf(&out, "It took %v.", took.Round(time.Second))
	return out.String()
}

// explanations say what the numbers are.
func (b *benchmark) explanations() []string {
	over := "IPv4"
	if b.ipv6 {
		over = "IPv6"
	}
	return []string{
		fmt.Sprintf("Medians of %d rounds in which each ran in turn, %v each, on %d CPUs (%s), Linux %s; %s over the loopback.",
			b.rounds, b.duration, runtime.NumCPU(), processorName(), b.release, over),
		"slower by: how much longer a transition of the load took than right before, without a tracer.",
		"kernel ns: what the tracer's BPF programs ran, by bpf_stats in a load of its own, for each transition that happened.",
		"CPU µs: the process's CPU time, system calls included, by its CPU clock, for each transition that happened.",
		"seen: lines of the load's transitions (of conns: of its connections' ends), of those that the kernel counted.",
		"said lost: what the tracer itself says that it has lost, of those that happened.",
		"median, p99 ms: from the close of a listener until its line came out of the tracer's pipe; start to first: from the start of its process.",
		"right: told a time in ESTABLISHED that lies between the bounds that the load knows, of all that were closed.",
		"ratio: to " + baseline + ".",
	}
}

func kernelRelease() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return ""
	}
	return unix.ByteSliceToString(name.Release[:])
}

// processorName is what the kernel calls the processor.
func processorName() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	_, rest, found := strings.Cut(string(text), "model name\t: ")
	if !found {
		return runtime.GOARCH
	}
	name, _, _ := strings.Cut(rest, "\n")
	return name
}
