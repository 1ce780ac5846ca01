package probe

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"

	"tcpstates/bpf"
	"tcpstates/internal/event"
	"tcpstates/internal/feature"
)

// Summary is programs that count what happens, and tell of no event: nothing but the
// numbers crosses to user space, when it is asked for. Stop may be called from any
// goroutine, the rest belongs to one.
type Summary struct {
	programs
	list      *feature.List
	undecided []string
	stopOnce  sync.Once
}

// Times are how often something took so long: the i-th number counts the times of less
// than Bound(i) nanoseconds that the one before does not.
type Times [bpf.SummaryTallyBucketsBUCKETS]uint64

// FirstBound is the power of two of the first bound of Times, in nanoseconds; each is
// twice the one before. The last number counts longer times, too.
const FirstBound = int(bpf.SummaryTallyBucketsFIRST_BOUND)

// states is how many numbers states have, and none.
const states = event.NewSynRecv + 1

// Counted is what the programs have counted.
type Counted struct {
	// Transitions are counted by the old and the new state.
	Transitions [states][states]uint64
	// InState are the times spent in each state, counted when it was left. A
	// server's SYN_RECV counts with Fast Open alone, and FIN_WAIT2 only where the
	// connection ended there.
	InState [states]Times
	// Connect are the times of clients from connect() to ESTABLISHED, RTT the round
	// trips of servers' handshakes, none of them an estimate.
	Connect, RTT Times
	Ends         []Ended
	// Unsorted are ends of which nobody knows the way: there were too many.
	Unsorted uint64
}

// Sum is how many transitions were counted.
func (c *Counted) Sum() (n uint64) {
	for from := range c.Transitions {
		for _, count := range c.Transitions[from] {
			n += count
		}
	}
	return n
}

// Ended are connections that have ended in the same way.
type Ended struct {
	// Event is their transition to CLOSE, as conn.EndOf wants it.
	Event event.Event
	// Reported tells whether they have sent a reset after that.
	Reported bool
	N        uint64
}

// summaryPrograms are the programs in the order in which they are attached, which
// those of transitions rely on.
var summaryPrograms = []string{"first", "between", "between_2nd", "twin", "reset_received", "reset_received_2nd",
	"reset_sent", "reset_sent_2nd"}

// LoadSummary loads the programs. They take the best backend; of the options count
// Filter, PIDNamespace and TypesFile. They need Linux 6.1. An error of what the machine lacks is a
// *feature.Missing; another one is of a TypesFile that holds no types.
func LoadSummary(o Options) (*Summary, error) {
	if err := feature.Elsewhere(); err != nil {
		return nil, err
	}
	list, err := listFor(&o)
	if err != nil {
		return nil, err
	}
	// Before, a program that a softirq interrupts is run for that softirq's events, too
	// (since then __bpf_trace_run looks at prog->active), and both count.
	if feature.OlderThan(6, 1) {
		return nil, onlyFull(&feature.Missing{What: "boot Linux 6.1 or later, where one does not interrupt itself"})
	}
	full := backends[0]
	if missing := whatIsMissing(list, full.needs); missing != nil {
		return nil, onlyFull(list.Diagnose(missing))
	}
	s := &Summary{list: list}
	if err := s.load(list, full, o); err != nil {
		return nil, onlyFull(list.Diagnose(err))
	}
	return s, nil
}

// Start attaches the programs, once. When it returns, every transition from then on is
// counted, or counted as missed.
func (s *Summary) Start() error {
	if err := s.start(); err != nil {
		return onlyFull(s.list.Diagnose(err))
	}
	return nil
}

// onlyFull says what the summary takes.
func onlyFull(missing *feature.Missing) error {
	return &feature.Missing{
		What: "--in-kernel takes programs with typed arguments and socket storage, and counts by no other way: " + missing.What,
		Err:  missing.Err,
	}
}

// cloned is BPF_F_CLONE of include/uapi/linux/bpf.h, which other systems have no name for.
const cloned = 1 << 9

func (s *Summary) load(list *feature.List, full *backend, o Options) error {
	_ = rlimit.RemoveMemlock() // as in Tracer.load

	spec, err := bpf.LoadSummary()
	if err != nil {
		return fmt.Errorf("read the embedded programs: %w", err)
	}
	kernel, err := list.KernelTypes()
	if err != nil {
		return fmt.Errorf("read the kernel's type information: %w", err)
	}
	leaveOut(spec, list, &o)
	settings := settingsOf(&o)
	filters := lower(&o, full.knows)
	filters.prepare(spec, &settings)
	s.undecided = filters.undecided
	if o.Filter.PIDs == nil { // no child need inherit who opened its listener
		spec.Maps["trails"].Flags &^= cloned
	}
	if err := spec.Variables["setting"].Set(settings); err != nil {
		return fmt.Errorf("set the constants of the programs: %w", err)
	}
	options := ebpf.CollectionOptions{Programs: ebpf.ProgramOptions{KernelTypes: kernel}, Cache: list.Cache()}
	if s.objects, err = create(spec, options); err != nil {
		return fmt.Errorf("load the programs: %w", err)
	}
	if err := filters.fill(s.objects.Maps); err != nil {
		s.objects.Close()
		return err
	}
	return nil
}

func (s *Summary) start() error {
	for _, name := range summaryPrograms {
		if s.objects.Programs[name] == nil {
			continue
		}
		if err := s.attachTyped(name, ""); err != nil {
			return err
		}
	}
	return s.begin(summaryPrograms[0])
}

// Undecided are the filters that the programs do not decide, by the names of their
// flags: what those exclude is counted.
func (s *Summary) Undecided() []string { return s.undecided }

// Backend names the kernel mechanisms that are used.
func (s *Summary) Backend() string { return backends[0].words + ", " + backends[0].memo }

// Stop takes the programs away. It may be called more than once, and returns when that
// is done: from then on the numbers stay.
func (s *Summary) Stop() { s.stopOnce.Do(func() { s.end(summaryPrograms[0], true) }) }

// Close gives everything back to the kernel.
func (s *Summary) Close() error {
	s.Stop()
	s.objects.Close()
	return nil
}

// Totals gives the account so far; it is exact after Stop.
func (s *Summary) Totals() (Totals, error) { return s.totals(summaryPrograms[0]) }

// Counted fills c with the numbers so far; they are exact after Stop. Before, what
// happens at the moment may be in some of them and not in others.
func (s *Summary) Counted(c *Counted) error {
	*c = Counted{}
	return errors.Join(s.readTallies(c), s.readEnds(c))
}

func (s *Summary) readTallies(c *Counted) error {
	for whose := range uint32(bpf.SummaryTallyOfTALLIES) {
		var perCPU []bpf.SummaryTally
		if err := s.objects.Maps["tallies"].Lookup(whose, &perCPU); err != nil {
			return fmt.Errorf("read what the programs have counted: %w", err)
		}
		for i := range perCPU {
			c.add(&perCPU[i])
		}
	}
	return nil
}

func (c *Counted) add(t *bpf.SummaryTally) {
	for from := range states {
		for to := range states {
			c.Transitions[from][to] += t.Transitions[from][to]
		}
		c.InState[from].add(t.Times[from][:])
	}
	c.Connect.add(t.Times[bpf.SummaryTallyRowROW_CONNECT][:])
	c.RTT.add(t.Times[bpf.SummaryTallyRowROW_RTT][:])
}

func (t *Times) add(counts []uint64) {
	for i, n := range counts {
		t[i] += n
	}
}

func (s *Summary) readEnds(c *Counted) error {
	var key bpf.SummaryEnding
	var perCPU []int64
	all := s.objects.Maps["endings"].Iterate()
	for all.Next(&key, &perCPU) {
		if n := sum(perCPU); n > 0 {
			c.Ends = append(c.Ends, endedOf(&key, uint64(n)))
		}
	}
	if err := all.Err(); err != nil {
		return fmt.Errorf("read how connections have ended: %w", err)
	}
	if err := s.objects.Maps["unsorted"].Lookup(uint32(0), &perCPU); err != nil {
		return fmt.Errorf("read how connections have ended: %w", err)
	}
	c.Unsorted = uint64(max(0, sum(perCPU)))
	return nil
}

func sum(perCPU []int64) (all int64) {
	for _, n := range perCPU {
		all += n
	}
	return all
}

// someSignal stands for the one that has killed a process: which it was is not counted.
const someSignal = 1

// endedOf turns what ends are counted by into the event that it was taken from, as far
// as their reason goes by it.
func endedOf(key *bpf.SummaryEnding, n uint64) Ended {
	has := func(sign bpf.SummaryEndingSigns) bool { return key.Signs&uint8(sign) != 0 }
	e := event.Event{
		Kind: event.KindTransition, OldState: event.State(key.Oldstate), NewState: event.Close,
		Local: netip.AddrPortFrom(netip.IPv4Unspecified(), 1),
		Facts: event.Facts{
			Unknown: has(bpf.SummaryEndingSignsENDING_UNSEEN),
			Err:     key.Err, Shutdown: key.Shutdown, Flags: event.SockFlags(key.Facts), SegsOut: 1,
		},
	}
	if e.OldState == event.Listen {
		e.Role = event.RoleListener
	}
	if has(bpf.SummaryEndingSignsENDING_SILENT) {
		e.Facts.SegsOut = 0
	}
	if has(bpf.SummaryEndingSignsENDING_NO_PORT) {
		e.Local = netip.AddrPort{}
	}
	if has(bpf.SummaryEndingSignsENDING_NO_LINGER2) {
		e.Facts.Linger2 = -1
	}
	if has(bpf.SummaryEndingSignsENDING_LATE_DATA) {
		e.Facts.DataSegsIn = 1
	}
	if has(bpf.SummaryEndingSignsENDING_KILLED) {
		e.Closes, e.Signal = true, someSignal
	}
	return Ended{Event: e, Reported: has(bpf.SummaryEndingSignsENDING_REPORTED), N: n}
}
