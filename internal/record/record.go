// Package record writes events as text and reads them back: a line an event,
// of what the kernel reported and nothing that was concluded from it. So what
// happened on one machine can be looked at again on another, without its
// kernel and without privileges.
package record

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"tcpstates/internal/event"
)

// kinds are those that a kernel reports; a line begins with the word of one.
var kinds = []event.Kind{
	event.KindTransition, event.KindLost, event.KindOwner,
	event.KindResetSent, event.KindResetReceived, event.KindRetransmit, event.KindSynAckRetransmit,
	event.KindMinisock,
}

// field is one thing that a line says, as NAME=VALUE. What is zero is not said.
type field struct {
	name string
	// add appends the value; nothing for zero.
	add func(dst []byte, e *event.Event) []byte
	set func(e *event.Event, value string) error
}

// fields are all there are, in the order of a line.
var fields = []field{
	number("ktime", func(e *event.Event) *uint64 { return &e.Ktime }),
	number("wall", func(e *event.Event) *int64 { return &e.Wall }),
	state("old", func(e *event.Event) *event.State { return &e.OldState }),
	state("new", func(e *event.Event) *event.State { return &e.NewState }),
	number("since", func(e *event.Event) *uint64 { return &e.Since }),
	truth("before", func(e *event.Event) *bool { return &e.Before }),
	number("cookie", func(e *event.Event) *uint64 { return &e.Cookie }),
	number("skaddr", func(e *event.Event) *uint64 { return &e.SkAddr }),
	number("family", func(e *event.Event) *event.Family { return &e.Family }),
	addrPort("local", func(e *event.Event) *netip.AddrPort { return &e.Local }),
	addrPort("remote", func(e *event.Event) *netip.AddrPort { return &e.Remote }),
	number("rawport", func(e *event.Event) *uint16 { return &e.RawLocalPort }),
	number("netns", func(e *event.Event) *uint32 { return &e.Netns }),
	number("uid", func(e *event.Event) *uint32 { return &e.UID }),
	truth("nouid", func(e *event.Event) *bool { return &e.UIDUnknown }),
	number("pid", func(e *event.Event) *uint32 { return &e.Owner.PID }),
	comm("comm", func(e *event.Event) *event.Comm { return &e.Owner.Comm }),
	number("source", func(e *event.Event) *event.Source { return &e.Owner.Source }),
	number("cgroup", func(e *event.Event) *uint64 { return &e.Owner.Cgroup }),
	number("curpid", func(e *event.Event) *uint32 { return &e.Current.PID }),
	comm("curcomm", func(e *event.Event) *event.Comm { return &e.Current.Comm }),
	truth("closes", func(e *event.Event) *bool { return &e.Closes }),
	number("signal", func(e *event.Event) *uint8 { return &e.Signal }),
	number("accepted", func(e *event.Event) *uint64 { return &e.Accepted }),
	number("err", func(e *event.Event) *uint16 { return &e.Facts.Err }),
	number("softerr", func(e *event.Event) *uint16 { return &e.Facts.SoftErr }),
	number("shutdown", func(e *event.Event) *uint8 { return &e.Facts.Shutdown }),
	number("flags", func(e *event.Event) *event.SockFlags { return &e.Facts.Flags }),
	number("linger2", func(e *event.Event) *int32 { return &e.Facts.Linger2 }),
	number("srtt", func(e *event.Event) *uint32 { return &e.Facts.SRTT }),
	number("minrtt", func(e *event.Event) *uint32 { return &e.Facts.MinRTT }),
	number("retrans", func(e *event.Event) *uint32 { return &e.Facts.Retransmits }),
	number("acked", func(e *event.Event) *uint64 { return &e.Facts.BytesAcked }),
	number("received", func(e *event.Event) *uint64 { return &e.Facts.BytesReceived }),
	number("segsin", func(e *event.Event) *uint32 { return &e.Facts.SegsIn }),
	number("segsout", func(e *event.Event) *uint32 { return &e.Facts.SegsOut }),
	number("datain", func(e *event.Event) *uint32 { return &e.Facts.DataSegsIn }),
	truth("nofacts", func(e *event.Event) *bool { return &e.Facts.Unknown }),
	text("reset", func(e *event.Event) *string { return &e.Facts.Reset }),
	number("fate", func(e *event.Event) *event.Fate { return &e.Fate }),
	number("lost", func(e *event.Event) *uint64 { return &e.Lost }),
}

// Append appends the event as a line. Events of kinds that no kernel reports
// are none.
func Append(dst []byte, e *event.Event) []byte {
	if !slices.Contains(kinds, e.Kind) {
		return dst
	}
	dst = append(dst, e.Kind.String()...)
	for _, f := range fields {
		before := len(dst)
		dst = append(append(append(dst, ' '), f.name...), '=')
		start := len(dst)
		if dst = f.add(dst, e); len(dst) == start {
			dst = dst[:before]
		}
	}
	return append(dst, '\n')
}

// Parse reads a line, without its end, into e.
func Parse(line string, e *event.Event) error {
	*e = event.Event{}
	words := strings.Split(line, " ")
	i := slices.IndexFunc(kinds, func(k event.Kind) bool { return k.String() == words[0] })
	if i < 0 {
		return fmt.Errorf("%q is no kind of event", words[0])
	}
	e.Kind = kinds[i]
	for _, word := range words[1:] {
		name, value, _ := strings.Cut(word, "=")
		f := find(name)
		if f == nil {
			return fmt.Errorf("%q is no field of an event", name)
		}
		if err := f.set(e, value); err != nil {
			return fmt.Errorf("the field %s: %w", name, err)
		}
	}
	return nil
}

func find(name string) *field {
	for i := range fields {
		if fields[i].name == name {
			return &fields[i]
		}
	}
	return nil
}

// Read reads lines until the end; those that are empty or begin with # say
// nothing.
func Read(r io.Reader) (all []event.Event, err error) {
	lines := bufio.NewScanner(r)
	for number := 1; lines.Scan(); number++ {
		if line := lines.Text(); line != "" && line[0] != '#' {
			var e event.Event
			if err := Parse(line, &e); err != nil {
				return all, fmt.Errorf("line %d: %w", number, err)
			}
			all = append(all, e)
		}
	}
	return all, lines.Err()
}

type integer interface {
	~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64
}

func number[T integer](name string, at func(*event.Event) *T) field {
	return field{name,
		func(dst []byte, e *event.Event) []byte {
			v := *at(e)
			switch {
			case v == 0:
				return dst
			case v < 0:
				return strconv.AppendInt(dst, int64(v), 10)
			}
			return strconv.AppendUint(dst, uint64(v), 10)
		},
		func(e *event.Event, value string) error {
			v, err := parseInteger[T](value)
			*at(e) = v
			return err
		}}
}

// parseInteger reads a number that must fit its type.
func parseInteger[T integer](value string) (T, error) {
	if strings.HasPrefix(value, "-") {
		n, err := strconv.ParseInt(value, 10, 64)
		if err == nil && int64(T(n)) != n || T(n) > 0 {
			err = fmt.Errorf("%s is out of range", value)
		}
		return T(n), err
	}
	n, err := strconv.ParseUint(value, 10, 64)
	if err == nil && (uint64(T(n)) != n || T(n) < 0) {
		err = fmt.Errorf("%s is out of range", value)
	}
	return T(n), err
}

func truth(name string, at func(*event.Event) *bool) field {
	return field{name,
		func(dst []byte, e *event.Event) []byte {
			if !*at(e) {
				return dst
			}
			return append(dst, "true"...)
		},
		func(e *event.Event, value string) (err error) {
			*at(e), err = strconv.ParseBool(value)
			return err
		}}
}

func state(name string, at func(*event.Event) *event.State) field {
	return field{name,
		func(dst []byte, e *event.Event) []byte {
			if *at(e) == 0 {
				return dst
			}
			return append(dst, at(e).String()...)
		},
		func(e *event.Event, value string) error {
			s, known := event.ParseState(value)
			if !known {
				return fmt.Errorf("%q is no state", value)
			}
			*at(e) = s
			return nil
		}}
}

func addrPort(name string, at func(*event.Event) *netip.AddrPort) field {
	return field{name,
		func(dst []byte, e *event.Event) []byte {
			if !at(e).IsValid() {
				return dst
			}
			return at(e).AppendTo(dst)
		},
		func(e *event.Event, value string) (err error) {
			*at(e), err = netip.ParseAddrPort(value)
			return err
		}}
}

func text(name string, at func(*event.Event) *string) field {
	return field{name,
		func(dst []byte, e *event.Event) []byte {
			if *at(e) == "" {
				return dst
			}
			return appendWord(dst, *at(e))
		},
		func(e *event.Event, value string) (err error) {
			*at(e), err = parseWord(value)
			return err
		}}
}

func comm(name string, at func(*event.Event) *event.Comm) field {
	return field{name,
		func(dst []byte, e *event.Event) []byte {
			if *at(e) == (event.Comm{}) {
				return dst
			}
			return appendWord(dst, strings.TrimRight(string(at(e)[:]), "\x00"))
		},
		func(e *event.Event, value string) error {
			name, err := parseWord(value)
			if err == nil && len(name) > len(event.Comm{}) {
				err = fmt.Errorf("a name of %d bytes", len(name))
			}
			copy(at(e)[:], name)
			return err
		}}
}

// appendWord appends text in quotes, as Go writes them, and without spaces.
func appendWord(dst []byte, s string) []byte {
	quoted := strconv.QuoteToASCII(s)
	return append(dst, strings.ReplaceAll(quoted, " ", `\x20`)...)
}

func parseWord(value string) (string, error) {
	s, err := strconv.Unquote(value)
	if err != nil {
		return "", fmt.Errorf("%s is no quoted text", value)
	}
	return s, nil
}
