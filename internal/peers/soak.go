package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"tcpstates/internal/traffic"
)

// soaking is what a soak is asked for.
type soaking struct {
	*config
	perSecond int           // connections opened and closed in a second
	life      time.Duration // of each of these
	warmUp    time.Duration // before memory and files are to be flat
}

// soak runs tcpstates beside many connections for a long time, prints what it
// has measured, and fails if anything was lost, wrong or growing.
func soak(args []string) error {
	k, err := newSoak(args)
	if err != nil {
		return err
	}
	if err := requireRoot(); err != nil {
		return err
	}
	f, err := k.run()
	if err != nil {
		return err
	}
	fmt.Print(f.text())
	return f.verdict()
}

func newSoak(args []string) (*soaking, error) {
	k := &soaking{config: &config{}}
	flags := flag.NewFlagSet("peers soak", flag.ContinueOnError)
	flags.StringVar(&k.tcpstates, "tcpstates", "./tcpstates", "the program that is tried")
	flags.StringVar(&k.load, "load", "bench/load", "the program that makes load")
	flags.BoolVar(&k.ipv6, "ipv6", false, "make load over IPv6")
	flags.IntVar(&k.held, "open", 100_000, "how many connections are open all the while")
	flags.IntVar(&k.perSecond, "each-second", 10_000, "how many more are opened and closed in a second")
	flags.DurationVar(&k.life, "life", 100*time.Millisecond, "how long each of these is open")
	flags.DurationVar(&k.duration, "duration", 10*time.Minute, "how long this goes on")
	flags.DurationVar(&k.warmUp, "warm-up", 20*time.Second, "how long memory and open files may still grow")
	if err := flags.Parse(args); err != nil {
		return nil, asUsage(err)
	}
	switch {
	case k.held < 1 || k.perSecond < 1 || k.life < 0 || flags.NArg() > 0:
		return nil, usageError{errors.New("there must be connections, a life of 0 or more, and nothing but flags")}
	case k.warmUp < time.Second || k.duration < k.warmUp+10*sampleEvery:
		return nil, usageError{fmt.Errorf("the -duration must be longer than the -warm-up, by %v at least", 10*sampleEvery)}
	}
	return k, nil
}

// maxTimeWait bounds the namespace's sockets in TIME_WAIT: they last a minute, in
// which what is remembered of them would grow. It is soon reached.
const maxTimeWait = "20000"

// boundTimeWait sets the bound in the namespace that it is run in.
func boundTimeWait() error {
	return os.WriteFile("/proc/sys/net/ipv4/tcp_max_tw_buckets", []byte(maxTimeWait), 0)
}

// run does it all.
func (k *soaking) run() (f *findings, err error) {
	s, err := k.prepare(&tracer{name: tracersOwn})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.ns.Do(boundTimeWait); err != nil {
		return nil, fmt.Errorf("bound the sockets in TIME_WAIT: %w", err)
	}
	f = &findings{matched: newMatcher(csvGrain)}
	shown, err := k.startTracer(s)
	if err != nil {
		return nil, err
	}
	defer shown.Close()
	read := make(chan error, 1)
	go func() {
		read <- eachLine(shown, func(raw []byte) { f.line(raw, k.ipv6) })
	}()
	err = s.tracer.awaitAttached(s.ns)
	if err == nil {
		err = k.makeLoad(s, f)
	}
	if err == nil {
		err = f.settle(s)
	}
	err = errors.Join(err, s.tracer.end(), <-read)
	f.lost = lostBy(s.tracer.stderr.bytes())
	return f, err
}

// csvGrain is to what CSV rounds its times.
const csvGrain = time.Nanosecond

// startTracer starts tcpstates with its output in a pipe, of the namespace alone,
// so that what else the machine does is not taken for the load.
func (k *soaking) startTracer(s *session) (shown *os.File, err error) {
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer writer.Close()
	s.tracer, err = start([]string{
		k.tcpstates, "-o", "csv", "--columns", soakColumns, "--netns", strconv.FormatUint(uint64(s.ns.Inode), 10),
	}, writer)
	if err != nil {
		reader.Close()
		return nil, err
	}
	return reader, nil
}

// makeLoad has the load open, hold and close what it is to, while it is looked
// after the tracer.
func (k *soaking) makeLoad(s *session, f *findings) (err error) {
	dir, err := os.MkdirTemp("", "soak-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "bounds")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return err
	}
	// Open for writing, too, it has no end before this side closes it.
	bounds, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer bounds.Close()
	read := make(chan error, 1)
	go func() { read <- traffic.ReadBounds(bounds, f.bound) }()

	l, err := k.startLoad(s.ns, loadOptions{
		rate: float64(k.perSecond) * traffic.MeanTransitions, life: k.life, duration: k.duration,
		held: k.held, heldRate: float64(k.perSecond), bounds: path,
	})
	if err != nil {
		return err
	}
	churned := make(chan error, 1)
	go func() { churned <- l.churn() }()
	if err := f.watch(s.tracer, k.warmUp, churned); err != nil {
		return errors.Join(err, l.kill())
	}
	if f.did, err = l.close(); err != nil {
		return err
	}
	return f.awaitBounds(read)
}
