package pipeline

import (
	"errors"
	"slices"
	"testing"

	"tcpstates/internal/event"
)

// noting is a sink that notes what it is asked for, and fails where told.
type noting struct {
	asked []string
	err   error
}

func (n *noting) note(what string) error { n.asked = append(n.asked, what); return n.err }

func (n *noting) Start(event.Start) error  { return n.note("start") }
func (n *noting) Write(*event.Event) error { return n.note("write") }
func (n *noting) Flush() error             { return n.note("flush") }
func (n *noting) Stop(event.Stop) error    { return n.note("stop") }

func TestTee(t *testing.T) {
	bad := errors.New("bad")
	for _, test := range []struct {
		err  error
		want []string // of the second sink
	}{
		{nil, []string{"start", "write", "flush", "stop"}},
		{bad, []string{"start", "flush", "stop"}},
	} {
		first, second := &noting{err: test.err}, &noting{}
		sink := Tee(first, second)
		for _, err := range []error{sink.Start(event.Start{}), sink.Write(&event.Event{}), sink.Flush(), sink.Stop(event.Stop{})} {
			if !errors.Is(err, test.err) {
				t.Errorf("got %v, want %v", err, test.err)
			}
		}
		if !slices.Equal(second.asked, test.want) {
			t.Errorf("after %v the second was asked for %v", test.err, second.asked)
		}
	}
}
