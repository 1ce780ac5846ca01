// Load opens and closes TCP connections on the loopback of the network namespace
// that it runs in, for tracers to be measured by:
//
//	load -rate 20000 -duration 10s
//	load -connections 100000
//	load -open 500000 -rate 20000 -duration 10s -wait
//
// One connection in four ends by a reset, the rest in order, closed by the server
// and the client in turn. At the end it prints, as one line of JSON, what it did.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"tcpstates/internal/traffic"
)

// options are what the flags say.
type options struct {
	rate        float64       // transitions per second; 0: as fast as possible
	life        time.Duration // of each connection
	ipv6        bool
	held        int     // connections that are open all the while
	heldRate    float64 // how many of these are opened, and closed, in a second; 0: as fast as possible
	duration    time.Duration
	connections int
	wait        bool
	bounds      string // the file for them; empty: none
}

// report is what was done.
type report struct {
	Connections int     `json:"connections"` // opened and closed, those held included
	Transitions int     `json:"transitions"` // all that these had, and the listeners
	Listeners   int     `json:"listeners"`
	Seconds     float64 `json:"seconds"` // of opening and closing, beside what was held
}

func (r *report) add(o report) {
	r.Connections += o.Connections
	r.Transitions += o.Transitions
	r.Listeners += o.Listeners
}

func main() {
	var o options
	flag.Float64Var(&o.rate, "rate", 0, "so many transitions a second; 0: as fast as possible")
	flag.DurationVar(&o.life, "life", 0, "keep each connection open for this time")
	flag.BoolVar(&o.ipv6, "ipv6", false, "over IPv6")
	flag.IntVar(&o.held, "open", 0, "open so many connections first, and close them at the end")
	flag.Float64Var(&o.heldRate, "open-rate", 0, "open and close so many of those of -open in a second; 0: as fast as possible")
	flag.DurationVar(&o.duration, "duration", 0, "open connections for this time")
	flag.IntVar(&o.connections, "connections", 0, "open so many connections, at most")
	flag.BoolVar(&o.wait, "wait", false,
		"print ready when those of -open are open, and done before they are closed, and wait for a line each time")
	flag.StringVar(&o.bounds, "bounds", "", "write to this file or named pipe how long each client was ESTABLISHED")
	flag.Parse()
	if err := o.check(flag.Args()); err != nil {
		fmt.Fprintf(os.Stderr, "load: %v\n", err)
		os.Exit(2)
	}
	if err := run(o, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "load: %v\n", err)
		os.Exit(1)
	}
}

// check looks for what cannot be done.
func (o *options) check(args []string) error {
	switch {
	case len(args) > 0:
		return fmt.Errorf("%q is no flag", args[0])
	case o.rate < 0 || o.life < 0 || o.held < 0 || o.heldRate < 0 || o.duration < 0 || o.connections < 0:
		return errors.New("a number below 0 means nothing here")
	case o.held == 0 && !o.churns():
		return errors.New("when does it end? Give -duration or -connections, or both")
	case o.rate == 0 && o.life > 0:
		return errors.New("as fast as possible with -life would open connections without end: give a -rate")
	}
	if atATime, room := o.rate/traffic.MeanTransitions*o.life.Seconds(), float64(o.room()); atATime > room {
		return fmt.Errorf("this rate and -life keep %.0f connections open at a time, and the process has files for %.0f: "+
			"shorten -life, or raise the limit (ulimit -n)", atATime, room)
	}
	return nil
}

// churns tells whether connections are opened and closed beside those held.
func (o *options) churns() bool { return o.duration > 0 || o.connections > 0 }

// room is how many connections may be open at a time beside those held.
func (o *options) room() int {
	if !o.holdsHere() {
		return connectionsAProcess()
	}
	return connectionsAProcess() - o.held
}

// holdsHere tells whether this process holds all that are held: it does if that
// leaves it room for others, should it open others.
func (o *options) holdsHere() bool {
	most := connectionsAProcess()
	if o.churns() {
		most /= 2
	}
	return o.held <= most
}

// spareFiles are for listeners, pipes and what Go itself opens.
const spareFiles = 400

// connectionsAProcess is how many connections one process may have open, both
// ends.
func connectionsAProcess() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return max(0, int(min(limit.Cur, 1<<20))-spareFiles) / 2
}

// run does it all. When told to wait it goes on with each line of the input,
// or with its end.
func run(o options, in io.Reader, out io.Writer) (err error) {
	var total report
	lines := bufio.NewReader(in)
	held, err := hold(o)
	if err != nil {
		return err
	}
	if err := o.say("ready", lines, out); err != nil {
		return err
	}
	if o.churns() {
		if total, err = churn(o, runtime.NumCPU()); err != nil {
			return err
		}
	}
	if err := o.say("done", lines, out); err != nil {
		return err
	}
	closed, err := held.close()
	if err != nil {
		return err
	}
	total.add(closed)
	return json.NewEncoder(out).Encode(total)
}

// say tells who waits for it how far it is, and waits to be told to go on.
func (o *options) say(what string, lines *bufio.Reader, out io.Writer) error {
	if !o.wait {
		return nil
	}
	if _, err := fmt.Fprintln(out, what); err != nil {
		return err
	}
	if _, err := lines.ReadString('\n'); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// openBounds opens the file for bounds: nil if none are wanted.
func (o *options) openBounds() (*os.File, error) {
	if o.bounds == "" {
		return nil, nil
	}
	return os.OpenFile(o.bounds, os.O_WRONLY|os.O_APPEND, 0)
}
