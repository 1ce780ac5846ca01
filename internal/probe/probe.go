// Package probe puts the programs into the kernel and reads what they send.
package probe

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"tcpstates/internal/event"
	"tcpstates/internal/feature"
	"tcpstates/internal/filter"
	"tcpstates/internal/wire"
)

// DefaultBufferSize is the size of the buffer to user space in bytes: it holds some 55,000
// transitions.
const DefaultBufferSize = 8 << 20

// Clock translates the kernel's time.
type Clock interface {
	// Sync notes how the clocks stand now. It is called whenever events are
	// about to be read.
	Sync()
	// Wall is the time since the Unix epoch, in nanoseconds, at which
	// CLOCK_MONOTONIC showed ktime.
	Wall(ktime uint64) int64
	// In is the time so long after now, as a deadline.
	In(d time.Duration) time.Time
}

// Options say what is traced and how.
type Options struct {
	// Filter is which connections are wanted. More may be told: what the backend
	// does not decide (see Undecided), and children of unwanted processes and users.
	Filter filter.Lowered
	// SelfTransitions reports states that were set anew without a change,
	// and counts durations from them.
	SelfTransitions bool
	// AcceptProbe runs the program that learns of each accept(). It slows every
	// system call of the machine by some 30 %.
	AcceptProbe bool
	// MaxEventsPerSecond bounds how many events are told: when there are more, of the
	// connections that begin only some are told of, each from its beginning to its
	// end, and events of event.KindSampling say which part. Zero means no bound.
	MaxEventsPerSecond uint64
	// Forks tells of new processes (event.KindFork), if the backend knows of them.
	Forks bool
	// Follow tells of the connections alone that were opened by what this process forks
	// from now on, and by all that descends from it, and of accepted ones, which may be
	// anybody's; and of all new processes, as Forks does. It says nothing to a backend
	// that knows of no forks.
	Follow bool
	// PIDNamespace is the inode number of the PID namespace whose process ids
	// are told; zero means the machine's.
	PIDNamespace uint32
	// BufferSize is how many bytes of events may wait to be read: a power of two
	// and a multiple of the page size. A perf event array has that divided among
	// the CPUs. Zero means DefaultBufferSize.
	BufferSize int
	// Backend and Transport are what must be used; zero means the best that the
	// machine has.
	Backend   Backend
	Transport Transport
	// TypesFile is a file with the kernel's type information (BTF); empty means
	// what the kernel itself has.
	TypesFile string
	Clock     Clock
}

// Tracer is a pipeline.Source of live events. Read and Pending belong to one
// goroutine; Stop, Nudge, Followed and Totals may be called from any other, and
// before Close returns.
type Tracer struct {
	programs
	transport transport
	choice    Choice
	clock     Clock
	nap       time.Duration
	alarm     *time.Timer   // of the nap
	roused    chan struct{} // ends the nap
	owes      atomic.Bool   // a tick to who has nudged, for which there are no more naps

	cache     *btf.Cache // see TakeTypes
	resets    resetNames
	refused   error
	undecided []string

	sampling *sampling // nil: all connections are told

	unread   bool   // the transport had nothing more to give
	swept    bool   // records were read since the last nap
	sinceAsk int    // bytes of records since the losses were last asked for
	lost     uint64 // transitions lost, as far as they were told
	stopOnce sync.Once
	stopped  atomic.Bool
	ended    bool // the last record was read
}

// Open loads and attaches the programs. When it returns, every transition from
// then on will be read, or counted as lost or missed. An error of what the
// machine lacks is a *feature.Missing; another one is of a TypesFile that holds
// no types.
func Open(o Options) (*Tracer, error) {
	if err := feature.Elsewhere(); err != nil {
		return nil, err
	}
	if o.BufferSize == 0 {
		o.BufferSize = DefaultBufferSize
	}
	list, err := listFor(&o)
	if err != nil {
		return nil, err
	}
	if t := openAtOnce(list, &o); t != nil {
		return t, nil
	}
	t, err := loadBest(list, &o)
	if err != nil {
		return nil, err
	}
	if err := t.start(&o); err != nil {
		t.Close()
		return nil, list.Diagnose(err)
	}
	return t, nil
}

// openAtOnce begins with the best there is, without asking whether the machine has
// it: most do, and asking takes as long again. It is nil where that fails, or
// another way is asked for.
func openAtOnce(list *feature.List, o *Options) *Tracer {
	if o.Backend.row != nil || o.Transport.row != nil {
		return nil
	}
	t := newTracer(Choice{backends[0], transports[0]}, o)
	if t.load(list, *o) != nil {
		return nil
	}
	if t.start(o) != nil {
		t.Close()
		return nil
	}
	return t
}

func newTracer(choice Choice, o *Options) *Tracer {
	alarm := time.NewTimer(0)
	alarm.Stop()
	return &Tracer{choice: choice, clock: o.Clock, unread: true, alarm: alarm, roused: make(chan struct{}, 1)}
}

// listFor is NewList, with the TypesFile read if there is one.
func listFor(o *Options) (*feature.List, error) {
	list := NewList(o)
	if o.TypesFile != "" {
		if _, err := list.KernelTypes(); err != nil {
			return nil, fmt.Errorf("read the kernel's type information from %s: %w", o.TypesFile, err)
		}
	}
	return list, nil
}

// loadBest loads the best backend of those that the options allow whose programs
// the kernel's verifier takes.
func loadBest(list *feature.List, o *Options) (*Tracer, error) {
	var refused error
	for among := backends; ; {
		choice, err := choose(list, o, among)
		if err != nil && refused != nil {
			return nil, list.Diagnose(refused)
		}
		if err != nil {
			return nil, err
		}
		if o.AcceptProbe && !choice.backend.knows.Facts {
			return nil, &feature.Missing{What: "--accept-probe needs the kernel's type information, which the backend tracepoint does without: leave it out"}
		}
		t := newTracer(choice, o)
		t.refused = refused
		err = t.load(list, *o)
		var verifier *ebpf.VerifierError
		switch {
		case err == nil:
			return t, nil
		case !errors.As(err, &verifier) || o.Backend.row != nil:
			return nil, list.Diagnose(err)
		case refused == nil:
			refused = fmt.Errorf("the backend %s: %w", choice.backend.name, err)
		}
		among = among[slices.Index(among, choice.backend)+1:]
	}
}

// Refused is why a better backend is not used that the machine should have: the
// kernel's verifier has rejected its programs. It is nil as a rule.
func (t *Tracer) Refused() error { return t.refused }

// Backend names the kernel mechanisms that the trace uses.
func (t *Tracer) Backend() string { return t.choice.String() }

// Undecided are the filters that the backend leaves to user space altogether, by
// the names of their flags.
func (t *Tracer) Undecided() []string { return t.undecided }

// Knows says what the trace can tell.
func (t *Tracer) Knows() Knows {
	knows := t.choice.backend.knows
	knows.Owners = t.objects != nil && (t.objects.Programs["received"] != nil || t.objects.Programs["accepted"] != nil)
	return knows
}

// recordHead is how many bytes of the buffer the kernel takes for each record
// beside what is in it (BPF_RINGBUF_HDR_SZ, struct perf_event_header).
const recordHead = 8

// tick is how long Read waits for an event at most: then it gives a tick.
const tick = 250 * time.Millisecond

// Read implements pipeline.Source. After Stop it gives what the programs had
// sent until then, and io.EOF.
func (t *Tracer) Read(e *event.Event) error {
	if t.sampling != nil {
		return t.sampling.read(e, t.next)
	}
	return t.next(e)
}

// next reads what the programs tell.
func (t *Tracer) next(e *event.Event) error {
	// Once a buffer's worth of records, or when there is no more to read,
	// is soon enough to learn of losses, and the right place to tell of them: when
	// one happened, the buffer was full of what came before.
	if t.unread || t.sinceAsk+wire.Size+recordHead > t.transport.size() {
		t.sinceAsk = 0
		if more, err := t.readLoss(e); more || err != nil {
			return err
		}
	}
	if t.ended {
		return io.EOF
	}
	if t.unread && !t.stopped.Load() {
		// Asleep, the reader does not keep up, and the programs need not wake
		// it for each event of a burst.
		if t.swept && !t.owes.Load() {
			t.sleep()
			t.swept = false
		}
		t.transport.setDeadline(t.clock.In(tick))
	}
	record, err := t.transport.read()
	switch {
	case err == nil:
	case errors.Is(err, errFlushed):
		t.ended, t.unread = true, true
		return t.next(e) // the last losses, then the end
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, errNudged):
		if errors.Is(err, errNudged) {
			t.owes.Store(false)
		}
		t.clock.Sync()
		now := monotonic()
		*e = event.Event{Kind: event.KindTick, Ktime: now, Wall: t.clock.Wall(now)}
		return nil
	default:
		return fmt.Errorf("read what the programs sent: %w", err)
	}
	if t.unread {
		t.clock.Sync()
	}
	t.swept = true
	t.sinceAsk += len(record) + recordHead
	t.unread = !t.transport.pending()
	if err := wire.Decode(record, e); err != nil {
		return fmt.Errorf("decode what the programs sent: %w", err)
	}
	if reason := wire.ResetReason(record); reason >= 0 {
		e.Facts.Reset = t.resets.name(reason)
	}
	e.Wall = t.clock.Wall(e.Ktime)
	return nil
}

// Lives is the programs' storage of what they remember of sockets, for a
// snapshot to fill. It is the Tracer's own and ends with it.
func (t *Tracer) Lives() *ebpf.Map { return t.objects.Maps["lives"] }

// TakeTypes is the kernel's type information, read once, for who loads other programs.
// The Tracer keeps it no longer: it takes megabytes.
func (t *Tracer) TakeTypes() *btf.Cache {
	defer func() { t.cache = nil }()
	return t.cache
}

// Pending implements pipeline.Source.
func (t *Tracer) Pending() bool {
	return t.sampling != nil && t.sampling.hasAhead || t.transport.pending()
}

// readLoss fills e with the losses since the last call, and returns false if
// there were none.
func (t *Tracer) readLoss(e *event.Event) (bool, error) {
	lost, err := t.lostSoFar()
	if err != nil || lost == t.lost {
		return false, err
	}
	t.clock.Sync()
	now := monotonic()
	*e = event.Event{Kind: event.KindLost, Ktime: now, Wall: t.clock.Wall(now), Lost: lost - t.lost}
	t.lost = lost
	return true, nil
}

// monotonic is the present time in nanoseconds of CLOCK_MONOTONIC.
func monotonic() uint64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // fails for a bad clock alone
	return uint64(ts.Nano())
}

// Stop detaches the programs and makes Read come to its end. It may be called
// more than once, and returns when that is done.
func (t *Tracer) Stop() { t.stopOnce.Do(t.stop) }

func (t *Tracer) stop() {
	if t.sampling != nil {
		t.sampling.end()
	}
	t.stopped.Store(true)
	t.rouse()
	t.end(t.first(), t.mayTellMore())
	if t.transport != nil {
		_ = t.transport.flush()
	}
}

// Close gives everything back to the kernel. Read must not be running.
func (t *Tracer) Close() error {
	t.Stop()
	var err error
	if t.transport != nil {
		err = t.transport.Close()
	}
	t.objects.Close()
	return err
}
