package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"tcpstates/internal/traffic"
)

// section is a part of the table: what is measured of each tracer in it.
type section struct {
	name    string // for the flag
	title   string
	columns []column
	takes   func(t *tracer) bool
	measure func(c *config, t *tracer) (sample, error)
}

// sample is what was measured once, by the columns' keys.
type sample map[string]float64

// allSections are the parts of the table in their order.
func allSections(c *config) []section {
	return []section{
		rateSection("storm", "as many transitions a second as the machine makes", 0),
		rateSection("200k", "200,000 transitions a second", 200_000),
		rateSection("20k", "20,000 transitions a second", 20_000),
		{
			name: "latency", title: "1,000 transitions a second, through a pipe", columns: latencyColumns,
			takes: func(t *tracer) bool { return t.in&inLatency != 0 }, measure: (*config).measureLatency,
		},
		{
			name: "open", title: "20,000 transitions a second beside open connections", columns: openColumns(c.open),
			takes: func(t *tracer) bool { return t.in&inScale != 0 }, measure: (*config).measureOpen,
		},
		{
			name:    "durations",
			title:   fmt.Sprintf("%s connections that are all open, then closed", grouped(float64(c.held))),
			columns: durationColumns,
			takes:   func(t *tracer) bool { return t.in&inDurations != 0 }, measure: (*config).measureDurations,
		},
	}
}

func rateSection(name, title string, rate float64) section {
	return section{
		name: name, title: title, columns: rateColumns(rate),
		takes:   func(t *tracer) bool { return t.in&notInRates == 0 },
		measure: func(c *config, t *tracer) (sample, error) { return c.measureRate(t, rate) },
	}
}

// kernelShare is how much shorter the second load is, of which the kernel's
// statistics are taken.
const kernelShare = 2

// measureRate has the tracer write to a file while load is made at the rate, and
// right before that makes the same load without it: what else the machine does
// changes from minute to minute. The kernel's time is measured in another load,
// as the kernel's clock of programs costs something itself.
func (c *config) measureRate(t *tracer, rate float64) (m sample, err error) {
	m = sample{}
	var before float64 // transitions a second
	if t != untraced {
		alone, err := c.measureRate(untraced, rate)
		if err != nil {
			return nil, err
		}
		before = alone[keyRate]
	}
	s, err := c.begin(t)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	var first, second loaded
	spent, err := s.during(s.loadOnce(loadOptions{rate: rate, duration: c.duration}, &first))
	if err != nil {
		return nil, err
	}
	m[keyRate] = spent.happened / first.Seconds
	if t == untraced {
		return m, nil
	}
	m[keySlower] = before/m[keyRate] - 1
	m[keyCPU] = microseconds(spent.cpu) / spent.happened
	timed, err := s.duringTimed(s.loadOnce(loadOptions{rate: rate, duration: c.duration / kernelShare}, &second))
	if err != nil {
		return nil, err
	}
	m[keyKernel] = float64(timed.work.Nanoseconds()) / timed.happened
	if m[keyPeak], err = s.tracer.memory("VmHWM"); err != nil {
		return nil, err
	}
	happened := spent.happened + timed.happened
	m[keySeen], m[keyLost], err = s.tally(happened, float64(2*(first.Connections+second.Connections)))
	return m, err
}

// loadOnce makes load and says what it did.
func (s *session) loadOnce(o loadOptions, did *loaded) func() error {
	return func() error {
		l, err := s.startLoad(s.ns, o)
		if err == nil {
			err = l.churn()
		}
		if err == nil {
			*did, err = l.close()
		}
		return err
	}
}

// tally ends the tracer, once its late lines have come, and gives the shares of
// what it has shown, and of what it says that it has lost: of all transitions, or
// of all ends.
func (s *session) tally(happened, ends float64) (seen, lost float64, err error) {
	all := happened
	if s.t.lines == lives {
		all = ends
	}
	for limit := time.Now().Add(s.t.late); time.Now().Before(limit); {
		if n, lost, err := s.shown(); err != nil || lost > 0 || float64(n) >= all {
			break
		}
		if err := s.tracer.pause(time.Second); err != nil {
			return 0, 0, err
		}
	}
	if err := s.tracer.end(); err != nil {
		return 0, 0, err
	}
	shown, missing, err := s.shown()
	if seen = float64(shown) / all; s.t.lines == nothing {
		seen = unknown
	}
	return seen, float64(missing) / happened, err
}

// duringTimed is during with the kernel's statistics of programs.
func (s *session) duringTimed(f func() error) (reading, error) {
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		return reading{}, fmt.Errorf("turn on the statistics of BPF programs: %w", err)
	}
	defer stats.Close()
	return s.during(f)
}

// openRate is the load beside open connections.
const openRate = 20_000

// measureOpen measures the cost of a transition beside so many connections that
// were opened while the tracer ran.
func (c *config) measureOpen(t *tracer) (sample, error) {
	m := sample{}
	for _, n := range c.open {
		spent, err := c.measureBeside(t, n)
		if err != nil {
			return m, fmt.Errorf("with %d open connections: %w", n, err)
		}
		m[keyOf(keyKernel, n)] = float64(spent.work.Nanoseconds()) / spent.happened
		m[keyOf(keyCPU, n)] = microseconds(spent.cpu) / spent.happened
	}
	return m, nil
}

func (c *config) measureBeside(t *tracer, open int) (spent reading, err error) {
	s, err := c.begin(t)
	if err != nil {
		return reading{}, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	l, err := s.startLoad(s.ns, loadOptions{rate: openRate, held: open, duration: c.duration})
	if err != nil {
		return reading{}, err
	}
	err = s.tracer.calm()
	if err == nil {
		spent, err = s.duringTimed(l.churn)
	}
	// They are closed faster when nobody traces.
	err = errors.Join(err, s.tracer.end())
	_, closeErr := l.close()
	return spent, errors.Join(err, closeErr)
}

// durationRate is how many connections are opened, and closed, in a second, where
// it is their times that matter: few enough for each tracer to see them.
const durationRate = 5_000

// measureDurations has connections opened, and closed when all are open, and
// looks which clients' times in ESTABLISHED the tracer tells right.
func (c *config) measureDurations(t *tracer) (m sample, err error) {
	s, err := c.begin(t)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	dir, err := os.MkdirTemp(c.dir, "peers-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	bounds := filepath.Join(dir, "bounds")
	if err := os.WriteFile(bounds, nil, 0o600); err != nil {
		return nil, err
	}
	l, err := s.startLoad(s.ns, loadOptions{held: c.held, heldRate: durationRate, bounds: bounds})
	if err == nil {
		err = l.churn()
	}
	if err == nil {
		_, err = l.close()
	}
	if err == nil {
		err = s.tracer.calm()
	}
	if err := errors.Join(err, s.tracer.end()); err != nil {
		return nil, err
	}
	matched := newMatcher(grain)
	if err := readBounds(bounds, matched); err != nil {
		return nil, err
	}
	err = s.each(func(l *line) {
		if e, lasted, ok := l.established(t.unit); ok {
			matched.tell(e, lasted)
		}
	})
	all := float64(c.held)
	return sample{keySeen: 1 - float64(matched.untold())/all, keyRight: float64(matched.right) / all}, err
}

// grain is to what most tracers round their times.
const grain = time.Microsecond

func readBounds(path string, matched *matcher) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	return traffic.ReadBounds(file, matched.happened)
}

func microseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
