package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"time"

	"tcpstates/internal/netns"
	"tcpstates/internal/truth"
)

// config is what the flags of a benchmark say, and what is found on the machine.
type config struct {
	tcpstates, load, libbpf string // programs
	dir                     string // for the tracers' output
	release                 string // of the kernel
	ipv6                    bool
	rounds                  int
	duration                time.Duration // of each load
	open                    []int         // numbers of open connections
	held                    int           // for right durations
}

// session is a network namespace for load, the truth about it, and a tracer, or
// none, that is attached.
type session struct {
	*config
	t      *tracer
	ns     *netns.Namespace
	truth  *truth.Counter
	out    *os.File // the tracer's output; nil in a pipe
	tracer *running // nil if none runs
	// resident is a process in the namespace: one that nobody is in cannot be asked
	// for its sockets. It ends when leave is closed.
	resident *exec.Cmd
	leave    io.Closer
}

// begin starts the tracer, if it is one, that writes into a file, and waits until
// it traces.
func (c *config) begin(t *tracer) (s *session, err error) {
	if s, err = c.prepare(t); err != nil {
		return nil, err
	}
	if command := t.command(c); command != nil {
		if s.out, err = os.CreateTemp(c.dir, "peers-*"); err == nil {
			err = os.Remove(s.out.Name()) // it is gone once it is closed
		}
		if err == nil {
			s.tracer, err = start(command, s.out)
		}
		if err == nil {
			err = s.tracer.awaitAttached(s.ns)
		}
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// prepare makes all but the tracer.
func (c *config) prepare(t *tracer) (s *session, err error) {
	s = &session{config: c, t: t}
	if s.ns, err = netns.New(); err != nil {
		return nil, err
	}
	if s.truth, err = truth.Start(s.ns.Inode); err == nil {
		s.resident = exec.Command("cat")
		if s.leave, err = s.resident.StdinPipe(); err == nil {
			err = s.ns.Do(s.resident.Start)
		}
	}
	if err != nil {
		if s.truth != nil {
			s.truth.Close()
		}
		s.ns.Close()
		return nil, err
	}
	return s, nil
}

// close ends all that still runs.
func (s *session) close() error {
	err := errors.Join(s.tracer.end(), s.leave.Close(), s.resident.Wait(), s.truth.Close())
	s.ns.Close()
	if s.out != nil {
		err = errors.Join(err, s.out.Close())
	}
	return err
}

// reading is how far everything is.
type reading struct {
	happened  float64       // transitions of connections
	cpu, work time.Duration // of the tracer: on CPUs, in the kernel's events
}

func (s *session) read() (r reading, err error) {
	count, err := s.truth.Now()
	if err != nil {
		return r, err
	}
	r.happened = float64(count.OfConnections())
	if s.tracer == nil {
		return r, nil
	}
	if r.cpu, err = s.tracer.cpu(); err != nil {
		return r, err
	}
	r.work, err = s.tracer.work()
	return r, err
}

// during reads before and after what f does, and gives the difference, with what
// the tracer does until it has calmed down.
func (s *session) during(f func() error) (d reading, err error) {
	before, err := s.read()
	if err != nil {
		return d, err
	}
	if err := f(); err != nil {
		return d, err
	}
	if err := s.tracer.calm(); err != nil {
		return d, err
	}
	after, err := s.read()
	if err == nil && after.happened == before.happened {
		err = errors.New("nothing has happened")
	}
	return reading{after.happened - before.happened, after.cpu - before.cpu, after.work - before.work}, err
}

// each gives the lines of the tracer's output that tell of something.
func (s *session) each(do func(l *line)) error {
	return s.eachRaw(func(raw []byte) {
		if l, ok := s.t.parse(raw); ok {
			do(&l)
		}
	})
}

// eachRaw gives all lines of the tracer's output so far. They are read by a
// file of its own: the tracer goes on to write where its file is.
func (s *session) eachRaw(do func(raw []byte)) error {
	out, err := os.Open("/proc/self/fd/" + strconv.Itoa(int(s.out.Fd())))
	if err != nil {
		return fmt.Errorf("open a tracer's output: %w", err)
	}
	defer out.Close()
	return eachLine(out, do)
}

const longestLine = 1 << 20

// eachLine gives the lines of an output to its end; they are valid during the
// call.
func eachLine(from io.Reader, do func(raw []byte)) error {
	lines := bufio.NewReaderSize(from, longestLine)
	for {
		switch raw, err := lines.ReadSlice('\n'); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read a tracer's output: %w", err)
		default:
			do(raw)
		}
	}
}

// shown counts what the tracer has shown of the load, by its unit, and what it
// says itself that it has lost.
func (s *session) shown() (seen, lost int, err error) {
	if s.t.lines == nothing {
		return 0, lostBy(s.tracer.stderr.bytes()), nil
	}
	err = s.eachRaw(func(raw []byte) {
		if l, ok := s.t.parse(raw); !ok {
			lost += lostBy(raw)
		} else if l.happened(s.ipv6) {
			seen++
		}
	})
	return seen, lost + lostBy(s.tracer.stderr.bytes()), err
}

// losses are the words of all tracers for what they have lost.
var losses = regexp.MustCompile(`(?i)lost (\d+) events|(\d+) events lost`)

// lostBy adds up the losses that a text tells of.
func lostBy(text []byte) (sum int) {
	for _, found := range losses.FindAllSubmatch(text, -1) {
		n, _ := strconv.Atoi(string(found[1]) + string(found[2])) // one of both
		sum += n
	}
	return sum
}
