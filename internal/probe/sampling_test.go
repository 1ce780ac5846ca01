package probe

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"tcpstates/internal/event"
)

// someEvent, aTick and aLoss are events of a time.
func someEvent(ktime uint64) event.Event {
	return event.Event{Kind: event.KindTransition, Ktime: ktime}
}
func aTick(ktime uint64) event.Event { return event.Event{Kind: event.KindTick, Ktime: ktime} }
func aLoss(ktime uint64) event.Event { return event.Event{Kind: event.KindLost, Ktime: ktime, Lost: 1} }

// sampledSource is a sampling before a source of prepared events, behind which comes an
// error.
type sampledSource struct {
	sampling
	events []event.Event
	end    error
}

func newSampledSource(events []event.Event, end error, changes ...change) *sampledSource {
	s := &sampledSource{events: events, end: end}
	s.wall = func(ktime uint64) int64 { return int64(ktime) + 1000 }
	s.changes = changes
	s.news.Store(len(changes) > 0)
	return s
}

func (s *sampledSource) next(e *event.Event) error {
	if len(s.events) == 0 {
		return s.end
	}
	*e, s.events = s.events[0], s.events[1:]
	return nil
}

// readAll gives in words what is read, and the error behind it.
func (s *sampledSource) readAll() (all []string, err error) {
	for range 100 {
		var e event.Event
		if err := s.read(&e, s.next); err != nil {
			return all, err
		}
		switch e.Kind {
		case event.KindSampling:
			all = append(all, fmt.Sprintf("1/%d@%d", e.OneIn, e.Ktime))
		case event.KindTick:
			all = append(all, fmt.Sprintf("tick@%d", e.Ktime))
		case event.KindLost:
			all = append(all, fmt.Sprintf("lost@%d", e.Ktime))
		default:
			all = append(all, fmt.Sprintf("@%d", e.Ktime))
		}
	}
	return all, errors.New("it does not end")
}

// TestChangesComeAmongTheEventsByTheirTime: a reader knows of each event which sample
// it is of.
func TestChangesComeAmongTheEventsByTheirTime(t *testing.T) {
	errBroken := errors.New("broken")
	for name, test := range map[string]struct {
		events  []event.Event
		end     error
		changes []change
		want    string
	}{
		"none":           {[]event.Event{someEvent(10), someEvent(20)}, io.EOF, nil, "@10 @20"},
		"between":        {[]event.Event{someEvent(10), someEvent(20)}, io.EOF, []change{{15, 2}}, "@10 1/2@15 @20"},
		"before all":     {[]event.Event{someEvent(10), someEvent(20)}, io.EOF, []change{{5, 2}, {6, 4}}, "1/2@5 1/4@6 @10 @20"},
		"at an event":    {[]event.Event{someEvent(10), someEvent(20)}, io.EOF, []change{{10, 2}, {20, 4}}, "1/2@10 @10 1/4@20 @20"},
		"behind all":     {[]event.Event{someEvent(10)}, io.EOF, []change{{15, 2}, {16, 1}}, "@10 1/2@15 1/1@16"},
		"of no events":   {nil, io.EOF, []change{{15, 2}}, "1/2@15"},
		"ticks are some": {[]event.Event{someEvent(10), aTick(20)}, io.EOF, []change{{15, 2}}, "@10 1/2@15 tick@20"},
		// Of events that are not read yet, one may be of before the change.
		"a loss ahead of its time": {[]event.Event{aLoss(50), someEvent(10), someEvent(20)}, io.EOF, []change{{15, 2}}, "lost@50 @10 1/2@15 @20"},
		"an error":                 {[]event.Event{someEvent(10)}, errBroken, []change{{5, 2}, {15, 4}}, "1/2@5 @10"},
	} {
		s := newSampledSource(test.events, test.end, test.changes...)
		if got, err := s.readAll(); strings.Join(got, " ") != test.want || !errors.Is(err, test.end) {
			t.Errorf("%s: read %q and %v, want %q and %v", name, strings.Join(got, " "), err, test.want, test.end)
		}
		if test.end == io.EOF && (s.news.Load() || s.hasAhead) {
			t.Errorf("%s: all is read, and there is more", name)
		}
	}
}

// TestAChangeIsWhole: the event that was read before it comes behind it as it was, and
// waits until then.
func TestAChangeIsWhole(t *testing.T) {
	late := someEvent(20)
	late.Cookie, late.Wall = 7, 1020
	s := newSampledSource([]event.Event{late}, io.EOF, change{15, 8})
	for _, want := range []event.Event{{Kind: event.KindSampling, Ktime: 15, Wall: 1015, OneIn: 8}, late} {
		var got event.Event
		if err := s.read(&got, s.next); err != nil || got != want {
			t.Errorf("read %+v, %v, want %+v", got, err, want)
		}
		if waits := want.Kind == event.KindSampling; s.hasAhead != waits {
			t.Errorf("behind %v an event waits: %v", want.Kind, s.hasAhead)
		}
	}
}

// TestTheEndOfTheChoiceIsTold to who reads, whose trace would else outgrow what is
// wanted; a loss is told before.
func TestTheEndOfTheChoiceIsTold(t *testing.T) {
	errBroken := errors.New("broken")
	s := newSampledSource([]event.Event{aLoss(10), someEvent(20), someEvent(30)}, io.EOF)
	s.standing = func() (shown, all uint64, err error) { return 0, 0, errBroken }
	s.run()
	got, err := s.readAll()
	if !slices.Equal(got, []string{"lost@10"}) || !errors.Is(err, errBroken) || err.Error() != "choose which connections are shown: broken" {
		t.Errorf("read %q and %v", got, err)
	}
}
