package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"time"

	"tcpstates/internal/netns"
)

// loadOptions are what the load is to be, see internal/load.
type loadOptions struct {
	rate        float64 // transitions a second
	life        time.Duration
	held        int
	heldRate    float64       // how many of these are opened, and closed, in a second
	duration    time.Duration // 0: nothing beside what is held
	bounds      string
	connections int
}

// loaded is what the load says that it did.
type loaded struct {
	Connections int     `json:"connections"`
	Transitions int     `json:"transitions"`
	Listeners   int     `json:"listeners"`
	Seconds     float64 `json:"seconds"`
}

// loading is a process that makes load.
type loading struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	said *bufio.Reader
}

// startLoad starts the load in the namespace, and waits until what it holds is
// open.
func (c *config) startLoad(ns *netns.Namespace, o loadOptions) (*loading, error) {
	l := &loading{cmd: exec.Command(c.load, "-wait",
		"-rate", strconv.FormatFloat(o.rate, 'f', -1, 64), "-life", o.life.String(), "-open", strconv.Itoa(o.held),
		"-open-rate", strconv.FormatFloat(o.heldRate, 'f', -1, 64),
		"-duration", o.duration.String(), "-connections", strconv.Itoa(o.connections), "-bounds", o.bounds)}
	if c.ipv6 {
		l.cmd.Args = append(l.cmd.Args, "-ipv6")
	}
	l.cmd.Stderr = os.Stderr
	out, err := l.cmd.StdoutPipe()
	if err == nil {
		l.in, err = l.cmd.StdinPipe()
	}
	if err == nil {
		err = ns.Do(l.cmd.Start)
	}
	if err != nil {
		return nil, fmt.Errorf("start the load: %w", err)
	}
	l.said = bufio.NewReader(out)
	return l, l.await("ready")
}

func (l *loading) await(word string) error {
	if said, err := l.said.ReadString('\n'); err != nil || said != word+"\n" {
		return errors.Join(fmt.Errorf("the load says %q and not %s", said, word), l.kill())
	}
	return nil
}

// goOn lets the load open and close what it is to.
func (l *loading) goOn() error {
	_, err := io.WriteString(l.in, "\n")
	return err
}

// churn lets the load do what it is to beside what it holds, and waits for it.
func (l *loading) churn() error {
	if err := l.goOn(); err != nil {
		return err
	}
	return l.await("done")
}

// close lets the load close what it holds, and waits for its end.
func (l *loading) close() (did loaded, err error) {
	if err := l.in.Close(); err != nil {
		return did, err
	}
	if err := json.NewDecoder(l.said).Decode(&did); err != nil {
		return did, errors.Join(fmt.Errorf("read what the load did: %w", err), l.kill())
	}
	if err := l.cmd.Wait(); err != nil {
		return did, fmt.Errorf("the load ends: %w", err)
	}
	return did, nil
}

// kill ends the load. Its other processes end with it.
func (l *loading) kill() error {
	err := l.cmd.Process.Kill()
	_ = l.cmd.Wait() // killed, as it was to be
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}
