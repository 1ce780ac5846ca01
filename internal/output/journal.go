package output

import (
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
	"golang.org/x/sys/unix"

	"tcpstates/internal/column"
	"tcpstates/internal/event"
)

// Journal is a sink that sends each event to systemd-journald, by its native
// protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL), with a field for each thing
// that is known of it. It never makes who writes to it wait: what journald does
// not take in time is counted, and left out.
type Journal struct {
	// room tells whether journald's queue has room.
	room    *net.UnixConn
	columns []*column.Column
	members []column.Groups
	names   []string // of the fields of the columns
	object  bool     // see JournalOptions.PIDs
	state   column.State
	failed  func(error)

	queue  chan event.Event
	done   chan struct{} // closed when the queue is empty and closed
	missed atomic.Uint64
}

// JournalOptions shape a Journal.
type JournalOptions struct {
	// Of is what is sent.
	Of Subject
	// PIDs says that process ids are those that journald knows processes by,
	// so that it may add what it knows of the owner (OBJECT_PID,
	// systemd.journal-fields(7)).
	PIDs bool
	// Failed is called at the first event that journald refuses, on another
	// goroutine than the writer's.
	Failed func(error)
}

// journalSocket is where journald listens (systemd-journald.service(8)).
const journalSocket = "/run/systemd/journal/socket"

// journalQueue is how many events wait for journald at most: some 4 MiB.
const journalQueue = 4096

// NewJournal makes a Journal, or fails if nobody listens. Close ends it.
func NewJournal(o JournalOptions) (*Journal, error) {
	room, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: journalSocket, Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	j := &Journal{
		room: room, columns: dataColumns(Options{Of: o.Of}), object: o.PIDs, failed: o.Failed,
		queue: make(chan event.Event, journalQueue), done: make(chan struct{}),
	}
	j.members = column.Members(j.columns)
	for _, c := range j.columns {
		j.names = append(j.names, journalField(c.Name))
	}
	go j.send()
	return j, nil
}

// journalField is the name of a column's field. Those of the states are spelled
// as in the fields of BCC's tcpstates.
func journalField(name string) string {
	switch name {
	case column.OldState.Name:
		name = "old_state"
	case column.NewState.Name:
		name = "new_state"
	}
	return "TCPSTATES_" + strings.ToUpper(name)
}

// Start implements pipeline.Sink. The journal has the beginning of the service,
// and needs none of the trace.
func (j *Journal) Start(event.Start) error { return nil }

// Write implements pipeline.Sink. It never fails.
func (j *Journal) Write(e *event.Event) error {
	select {
	case j.queue <- *e:
	default:
		j.missed.Add(1)
	}
	return nil
}

// Flush implements pipeline.Sink. Nothing is held back.
func (j *Journal) Flush() error { return nil }

// Stop implements pipeline.Sink.
func (j *Journal) Stop(event.Stop) error { return nil }

// Close gives journald so long a time to take what waits, and tells how many
// events in all are not in the journal. Nothing may be written any more.
func (j *Journal) Close(patience time.Duration) (missed uint64) {
	close(j.queue)
	select {
	case <-j.done:
		return j.missed.Load()
	case <-time.After(patience):
		return j.missed.Load() + uint64(len(j.queue)) + 1 // the one under way
	}
}

// send sends what is in the queue until that is closed.
func (j *Journal) send() {
	defer close(j.done)
	defer j.room.Close()
	fields := map[string]string{}
	refused := false
	for e := range j.queue {
		j.awaitRoom()
		clear(fields)
		j.describe(fields, &e)
		if err := journal.Send(string(appendMessage(nil, &e)), priorityOf(&e), fields); err != nil {
			j.missed.Add(1)
			if !refused {
				refused = true
				j.failed(err)
			}
		}
	}
}

// awaitRoom waits until journald's queue takes a message, or is gone. The
// library does not wait but tries again and again, and keeps a CPU busy with
// it: its socket is not connected, and no such socket learns of room in
// another's queue (unix_dgram_poll).
func (j *Journal) awaitRoom() {
	raw, err := j.room.SyscallConn()
	if err != nil {
		return // it is closed, and send is over
	}
	_ = raw.Control(func(fd uintptr) { // as above
		for err = unix.EINTR; errors.Is(err, unix.EINTR); {
			_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, -1)
		}
	})
}

// describe fills in the fields of an event. What is not known has none.
func (j *Journal) describe(fields map[string]string, e *event.Event) {
	fields["SYSLOG_IDENTIFIER"] = "tcpstates"
	groups := column.GroupsOf(e)
	for i, c := range j.columns {
		if groups&j.members[i] == 0 {
			continue
		}
		if value := c.Data(nil, e, &j.state); len(value) > 0 {
			fields[j.names[i]] = string(value)
		}
	}
	if pid, known := fields[journalField(column.PID.Name)]; known && j.object {
		fields["OBJECT_PID"] = pid
	}
}

// priorityOf is how much an event matters (syslog(3)).
func priorityOf(e *event.Event) journal.Priority {
	switch {
	case e.Kind == event.KindLost:
		return journal.PriErr
	case e.Kind == event.KindSampling, e.End.Reason.IsFailure():
		return journal.PriWarning
	}
	return journal.PriInfo
}

// appendMessage appends an event as a sentence: who, both ends, what happened,
// and what explains it.
func appendMessage(dst []byte, e *event.Event) []byte {
	if e.IsNotice() {
		return appendSentence(dst, e)
	}
	dst = appendWho(dst, e)
	dst = append(appendEnds(append(dst, ' '), e), ' ')
	switch e.Kind {
	case event.KindTransition:
		dst = append(append(dst, e.OldState.String()...), " -> "...)
		dst = append(dst, e.NewState.String()...)
		dst = appendAfter(dst, e)
	case event.KindConn:
		dst = appendAfter(append(dst, "ended"...), e)
	case event.KindOwner:
		return append(dst, "has this owner now"...)
	default:
		dst = append(append(dst, "in "...), e.OldState.String()...)
	}
	before := len(dst)
	dst = append(dst, ": "...)
	start := len(dst)
	if dst = column.Why.Data(dst, e, nil); len(dst) == start {
		return dst[:before]
	}
	return dst
}

// appendAfter appends how long something has lasted, if that is known.
func appendAfter(dst []byte, e *event.Event) []byte {
	before := len(dst)
	dst = append(dst, " after "...)
	start := len(dst)
	if dst = column.MS.Text(dst, e, nil); len(dst) == start {
		return dst[:before]
	}
	return append(dst, " ms"...)
}
