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

	"tcpstates/internal/traffic"
)

// holder keeps connections open until it closes them.
type holder interface {
	close() (report, error)
}

// hold opens the connections that are held: in this process, or in as many others
// as the limit on open files asks for.
func hold(o options) (holder, error) {
	if o.holdsHere() {
		return holdHere(o)
	}
	return holdInOthers(o)
}

// here is what this process itself holds.
type here struct {
	options
	source *traffic.Source // nil if nothing is held
	conns  []traffic.Conn
}

func holdHere(o options) (h *here, err error) {
	h = &here{options: o}
	if o.held == 0 {
		return h, nil
	}
	if h.source, err = traffic.NewSource(o.ipv6); err != nil {
		return nil, err
	}
	h.conns = make([]traffic.Conn, 0, o.held)
	opening := paceOf(o.heldRate)
	for i := range o.held {
		opening.await(i)
		c, err := h.source.Open()
		if err != nil {
			return nil, err
		}
		h.conns = append(h.conns, c)
	}
	return h, nil
}

func (h *here) close() (closed report, err error) {
	if h.source == nil {
		return report{}, nil
	}
	file, err := h.openBounds()
	if err != nil {
		return report{}, err
	}
	var bounds *traffic.BoundsWriter
	if file != nil {
		bounds = traffic.NewBoundsWriter(file)
	}
	closing := paceOf(h.heldRate)
	for i := range h.conns {
		closing.await(i)
		if err := closed.closeOne(&h.conns[i], bounds); err != nil {
			return closed, err
		}
	}
	if bounds != nil {
		err = errors.Join(bounds.Flush(), file.Close())
	}
	return closed.with(h.source), errors.Join(err, h.source.Close())
}

// others are processes of this program that hold a share each. They open and
// close one after the other, so that they leave a CPU to whoever watches. They
// end when this one does, as they then read the end of their input.
type others []*other

type other struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	said *bufio.Reader
}

func holdInOthers(o options) (all others, err error) {
	share := connectionsAProcess()
	if share == 0 {
		return nil, errors.New("the limit on open files leaves no room for connections: raise it (ulimit -n)")
	}
	for left := o.held; left > 0; left -= share {
		child, err := startOther(o, min(left, share))
		if err != nil {
			return nil, errors.Join(err, all.kill())
		}
		all = append(all, child)
		if err := child.await("ready"); err != nil {
			return nil, errors.Join(err, all.kill())
		}
	}
	return all, nil
}

func startOther(o options, held int) (*other, error) {
	child := &other{cmd: exec.Command("/proc/self/exe", "-wait", "-open", strconv.Itoa(held),
		"-open-rate", strconv.FormatFloat(o.heldRate, 'f', -1, 64), "-bounds", o.bounds, "-ipv6="+strconv.FormatBool(o.ipv6))}
	child.cmd.Stderr = os.Stderr
	out, err := child.cmd.StdoutPipe()
	if err == nil {
		child.in, err = child.cmd.StdinPipe()
	}
	if err == nil {
		err = child.cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("start a process that holds connections: %w", err)
	}
	child.said = bufio.NewReader(out)
	return child, nil
}

// await reads a word that the process is to say.
func (c *other) await(word string) error {
	if line, err := c.said.ReadString('\n'); err != nil || line != word+"\n" {
		return fmt.Errorf("a process that holds connections says %q and not %s (%v)", line, word, err)
	}
	return nil
}

// close has them close one after the other.
func (all others) close() (closed report, err error) {
	for _, child := range all {
		var one report
		err = errors.Join(err, child.in.Close(), child.await("done")) // each wait ends with its input
		if err == nil {
			err = json.NewDecoder(child.said).Decode(&one)
		}
		closed.add(one)
		err = errors.Join(err, child.cmd.Wait())
	}
	return closed, err
}

// kill ends those that were started.
func (all others) kill() (err error) {
	for _, child := range all {
		err = errors.Join(err, child.cmd.Process.Kill())
		_ = child.cmd.Wait() // killed, as it was to be
	}
	return err
}
