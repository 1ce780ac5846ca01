package main

import (
	"errors"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	latencyRate = 1000 // transitions a second
	probeEvery  = 10 * time.Millisecond
	// latencyLoad bounds the load; it is ended before.
	latencyLoad = 2 * time.Minute
)

// stopwatch knows when listeners were closed, by their ports, and takes the time
// until their lines come.
type stopwatch struct {
	mu     sync.Mutex
	closed map[string]time.Time
	took   []float64 // ms
	begin  time.Time
	first  time.Duration // from the beginning to the load's first line; 0: none yet
}

// line takes a line that has come at the given time.
func (w *stopwatch) line(l *line, at time.Time, ipv6 bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.first == 0 && l.happened(ipv6) {
		w.first = at.Sub(w.begin)
	}
	if string(l.oldState) != "LISTEN" || string(l.newState) != "CLOSE" {
		return
	}
	if closed, found := w.closed[string(l.lport)]; found {
		delete(w.closed, string(l.lport))
		w.took = append(w.took, milliseconds(at.Sub(closed)))
	}
}

// measureLatency starts the tracer amid load, and takes the time until the first
// line of it has come through a pipe, and then from the close of listeners to
// their lines.
func (c *config) measureLatency(t *tracer) (m sample, err error) {
	s, err := c.prepare(t)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	l, err := c.startLoad(s.ns, loadOptions{rate: latencyRate, duration: latencyLoad})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.kill()) }()
	if err := l.goOn(); err != nil {
		return nil, err
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	watch := &stopwatch{closed: map[string]time.Time{}}
	s.tracer, err = start(t.command(c), writer)
	writer.Close()
	if err != nil {
		return nil, err
	}
	watch.begin = s.tracer.begin
	read := make(chan error, 1)
	go func() {
		read <- eachLine(reader, func(raw []byte) {
			if l, ok := t.parse(raw); ok {
				watch.line(&l, time.Now(), c.ipv6)
			}
		})
	}()
	err = s.tracer.awaitAttached(s.ns)
	if err == nil {
		err = s.ns.Do(func() error { return watch.probe(s.tracer, c.duration) })
	}
	if err := errors.Join(err, s.tracer.end(), <-read); err != nil {
		return nil, err
	}
	return watch.sample(), nil
}

// probe opens and closes a listener again and again.
func (w *stopwatch) probe(r *running, duration time.Duration) error {
	for end := time.Now().Add(duration); time.Now().Before(end); {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		err = errors.Join(unix.Bind(fd, &unix.SockaddrInet4{}), unix.Listen(fd, 1))
		name, nameErr := unix.Getsockname(fd)
		if err := errors.Join(err, nameErr); err != nil {
			return errors.Join(err, unix.Close(fd))
		}
		w.mu.Lock()
		w.closed[strconv.Itoa(name.(*unix.SockaddrInet4).Port)] = time.Now()
		w.mu.Unlock()
		if err := unix.Close(fd); err != nil {
			return err
		}
		if err := r.pause(probeEvery); err != nil {
			return err
		}
	}
	return nil
}

// sample is called when all lines have come.
func (w *stopwatch) sample() sample {
	m := sample{}
	if w.first > 0 {
		m[keyFirst] = milliseconds(w.first)
	}
	if len(w.took) > 0 {
		m[keyMedian], m[keyP99] = quantile(w.took, 0.5), quantile(w.took, 0.99)
	}
	return m
}

func milliseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }
