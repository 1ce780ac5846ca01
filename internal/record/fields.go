package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"tcpstates/internal/event"
)

// kinds are those that come from the machine that is traced. Their place here is
// their number in a block: new ones go to the end.
var kinds = []event.Kind{
	event.KindTransition, event.KindLost, event.KindOwner,
	event.KindResetSent, event.KindResetReceived, event.KindRetransmit, event.KindSynAckRetransmit,
	event.KindMinisock, event.KindTick, event.KindSocket, event.KindFork, event.KindSampling,
}

// field is one thing that an event says. As text it is NAME=VALUE, and what is
// zero is not said; in a block it is not said where it is as foreseen.
type field struct {
	name string
	// form is what the value is in JSON.
	form form
	// add appends the value as text; nothing for zero.
	add func(dst []byte, e *event.Event) []byte
	set func(e *event.Event, value string) error
	// same tells whether two events say the same.
	same func(e, other *event.Event) bool
	// put appends the value as bytes, of which get takes as many.
	put func(dst []byte, e *event.Event, said *said) []byte
	get func(from *input, e *event.Event)
}

// form is what a value is in JSON.
type form uint8

const (
	aWord   form = iota // a string that needs no escapes
	aNumber             // a number, or true
	aText               // a string of any bytes, which is quoted and escaped as text
)

// fields are all there are, in the order of a line. Their place is their number
// in a block: new ones go to the end, and there is room for 64.
var fields = []field{
	ktime(),
	wall(),
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
	place("path", func(p *event.Place) *string { return &p.Cgroup }),
	place("container", func(p *event.Place) *string { return &p.Container }),
	place("unit", func(p *event.Place) *string { return &p.Unit }),
	place("pod", func(p *event.Place) *string { return &p.Pod }),
	number("recvq", func(e *event.Event) *uint32 { return &e.RecvQ }),
	number("sendq", func(e *event.Event) *uint32 { return &e.SendQ }),
	number("left", func(e *event.Event) *time.Duration { return &e.Left }),
	number("loss", func(e *event.Event) *event.Loss { return &e.Loss }),
	number("onein", func(e *event.Event) *uint64 { return &e.OneIn }),
	truth("followed", func(e *event.Event) *bool { return &e.Followed }),
}

func find(name string) *field {
	for i := range fields {
		if fields[i].name == name {
			return &fields[i]
		}
	}
	return nil
}

type integer interface {
	~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64
}

func number[T integer](name string, at func(*event.Event) *T) field {
	return field{
		name: name,
		form: aNumber,
		add: func(dst []byte, e *event.Event) []byte {
			v := *at(e)
			switch {
			case v == 0:
				return dst
			case v < 0:
				return strconv.AppendInt(dst, int64(v), 10)
			}
			return strconv.AppendUint(dst, uint64(v), 10)
		},
		set: func(e *event.Event, value string) error {
			v, err := parseInteger[T](value)
			*at(e) = v
			return err
		},
		same: func(e, other *event.Event) bool { return *at(e) == *at(other) },
		// As the difference from what was foreseen: small, where it counts up.
		put: func(dst []byte, e *event.Event, said *said) []byte {
			return binary.AppendVarint(dst, int64(*at(e))-int64(*at(&said.foreseen)))
		},
		get: func(from *input, e *event.Event) { *at(e) += T(from.varint()) },
	}
}

// ktime takes the wall clock with it, which goes on as fast.
func ktime() field {
	f := number("ktime", func(e *event.Event) *uint64 { return &e.Ktime })
	f.get = func(from *input, e *event.Event) {
		passed := from.varint()
		e.Ktime += uint64(passed)
		e.Wall += passed
	}
	return f
}

// wall is not said as long as the two clocks go on side by side.
func wall() field {
	f := number("wall", func(e *event.Event) *int64 { return &e.Wall })
	apart := func(e *event.Event) int64 { return e.Wall - int64(e.Ktime) }
	f.same = func(e, other *event.Event) bool { return apart(e) == apart(other) }
	f.put = func(dst []byte, e *event.Event, said *said) []byte {
		return binary.AppendVarint(dst, apart(e)-apart(&said.foreseen))
	}
	f.get = func(from *input, e *event.Event) { e.Wall += from.varint() }
	return f
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
	return field{
		name: name,
		form: aNumber,
		add: func(dst []byte, e *event.Event) []byte {
			if !*at(e) {
				return dst
			}
			return append(dst, "true"...)
		},
		set: func(e *event.Event, value string) (err error) {
			*at(e), err = strconv.ParseBool(value)
			return err
		},
		same: func(e, other *event.Event) bool { return *at(e) == *at(other) },
		// There is only one other value.
		put: func(dst []byte, _ *event.Event, _ *said) []byte { return dst },
		get: func(_ *input, e *event.Event) { *at(e) = !*at(e) },
	}
}

func state(name string, at func(*event.Event) *event.State) field {
	return field{
		name: name,
		add: func(dst []byte, e *event.Event) []byte {
			if *at(e) == 0 {
				return dst
			}
			return append(dst, at(e).String()...)
		},
		set: func(e *event.Event, value string) error {
			s, known := event.ParseState(value)
			if !known {
				return fmt.Errorf("%q is no state", value)
			}
			*at(e) = s
			return nil
		},
		same: func(e, other *event.Event) bool { return *at(e) == *at(other) },
		put:  func(dst []byte, e *event.Event, _ *said) []byte { return append(dst, byte(*at(e))) },
		get: func(from *input, e *event.Event) {
			if *at(e) = event.State(from.byte()); *at(e) > event.NewSynRecv {
				from.fail("%d is no state", *at(e))
			}
		},
	}
}

func addrPort(name string, at func(*event.Event) *netip.AddrPort) field {
	return field{
		name: name,
		add: func(dst []byte, e *event.Event) []byte {
			if !at(e).IsValid() {
				return dst
			}
			return at(e).AppendTo(dst)
		},
		set: func(e *event.Event, value string) (err error) {
			*at(e), err = netip.ParseAddrPort(value)
			if err == nil && at(e).Addr().Zone() != "" {
				err = errors.New("an address with a zone, which sockets have none of")
			}
			return err
		},
		same: func(e, other *event.Event) bool { return *at(e) == *at(other) },
		put: func(dst []byte, e *event.Event, said *said) []byte {
			addr := at(e).Addr()
			var room [16]byte
			bytes := room[:0]
			switch {
			case addr.Is4():
				four := addr.As4()
				bytes = append(bytes, four[:]...)
			case addr.Is6():
				sixteen := addr.As16()
				bytes = append(bytes, sixteen[:]...)
			}
			return binary.BigEndian.AppendUint16(said.word(dst, bytes), at(e).Port())
		},
		get: func(from *input, e *event.Event) {
			word := from.word()
			addr, ok := netip.AddrFromSlice([]byte(word))
			if !ok && word != "" {
				from.fail("an address of %d bytes", len(word))
			}
			*at(e) = netip.AddrPortFrom(addr, from.uint16())
		},
	}
}

func text(name string, at func(*event.Event) *string) field {
	return field{
		name: name,
		form: aText,
		add: func(dst []byte, e *event.Event) []byte {
			if *at(e) == "" {
				return dst
			}
			return appendWord(dst, *at(e))
		},
		set: func(e *event.Event, value string) (err error) {
			*at(e), err = parseWord(value)
			return err
		},
		same: func(e, other *event.Event) bool { return *at(e) == *at(other) },
		put:  func(dst []byte, e *event.Event, said *said) []byte { return said.word(dst, []byte(*at(e))) },
		get:  func(from *input, e *event.Event) { *at(e) = from.word() },
	}
}

func comm(name string, at func(*event.Event) *event.Comm) field {
	return field{
		name: name,
		form: aText,
		add: func(dst []byte, e *event.Event) []byte {
			if *at(e) == (event.Comm{}) {
				return dst
			}
			return appendWord(dst, strings.TrimRight(string(at(e)[:]), "\x00"))
		},
		set: func(e *event.Event, value string) error {
			name, err := parseWord(value)
			if err == nil && len(name) > len(event.Comm{}) {
				err = fmt.Errorf("a name of %d bytes", len(name))
			}
			copy(at(e)[:], name)
			return err
		},
		same: func(e, other *event.Event) bool { return *at(e) == *at(other) },
		put:  func(dst []byte, e *event.Event, said *said) []byte { return said.word(dst, at(e)[:]) },
		get: func(from *input, e *event.Event) {
			word := from.word()
			if len(word) != len(event.Comm{}) {
				from.fail("a name of %d bytes", len(word))
			}
			copy(at(e)[:], word)
		},
	}
}

// place is one thing that is known of where the owner runs.
func place(name string, at func(*event.Place) *string) field {
	of := func(e *event.Event) string {
		if e.Owner.Place == nil {
			return ""
		}
		return *at(e.Owner.Place)
	}
	set := func(e *event.Event, value string) { // a place is shared, and never changed
		var p event.Place
		if e.Owner.Place != nil {
			p = *e.Owner.Place
		}
		*at(&p) = value
		if e.Owner.Place = &p; p == (event.Place{}) {
			e.Owner.Place = nil
		}
	}
	return field{
		name: name,
		form: aText,
		add: func(dst []byte, e *event.Event) []byte {
			if of(e) == "" {
				return dst
			}
			return appendWord(dst, of(e))
		},
		set: func(e *event.Event, value string) error {
			word, err := parseWord(value)
			set(e, word)
			return err
		},
		same: func(e, other *event.Event) bool {
			return e.Owner.Place == other.Owner.Place || of(e) == of(other)
		},
		put: func(dst []byte, e *event.Event, said *said) []byte { return said.word(dst, []byte(of(e))) },
		get: func(from *input, e *event.Event) { set(e, from.word()) },
	}
}
