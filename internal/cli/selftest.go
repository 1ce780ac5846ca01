package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"tcpstates/internal/event"
	"tcpstates/internal/feature"
	"tcpstates/internal/probe"
)

// selfTest is how the trace of a connection of our own went.
type selfTest struct {
	// Transitions of it were seen, all of them right if Error is empty.
	Transitions int `json:"transitions"`
	// MS is how long that took, in milliseconds.
	MS float64 `json:"ms"`
	// Error is what failed.
	Error string `json:"error,omitempty"`
}

// check is the self-test as a line of the report.
func (s selfTest) check(works bool) check {
	c := check{Name: "self-test", Answer: answerNo, Reason: s.Error}
	if works {
		c.Answer = answerOK
		c.Reason = fmt.Sprintf("%d transitions of one loopback connection, states, ports and owner right, in %.1f ms", s.Transitions, s.MS)
	}
	return c
}

// selfTestLimit is how long the self-test may take: far more than it does.
const selfTestLimit = 5 * time.Second

// tryTracing traces as the command does, a connection of our own alone. The
// error is a *feature.Missing.
func (a *app) tryTracing(ctx context.Context) (result selfTest, backend string, err error) {
	pidns, err := a.ownPIDNamespace()
	if err != nil {
		return selfTest{Error: err.Error()}, "", &feature.Missing{What: err.Error(), Err: err}
	}
	source, _, err := a.open(probe.Options{Clock: a.clock, PIDNamespace: pidns})
	if err != nil {
		return selfTest{Error: "tracing does not begin: " + kernelsWords(err)}, "", err
	}
	defer source.Close()
	defer context.AfterFunc(ctx, source.Stop)()

	began := time.Now()
	r := rehearsal{source: source, deadline: began.Add(selfTestLimit), pid: uint32(os.Getpid()), pidsKnown: source.Knows().Facts || pidns == 0}
	defer r.close()
	err = r.run(ctx)
	result = selfTest{Transitions: r.seen(), MS: float64(time.Since(began).Microseconds()) / 1000}
	if err != nil {
		result.Error = err.Error()
		err = &feature.Missing{What: "tracing begins, and the self-test fails: " + err.Error(), Err: err}
	}
	return result, source.Backend(), err
}

// kernelsWords are the kernel's own for its refusal, as far as there are.
func kernelsWords(err error) string {
	var missing *feature.Missing
	if errors.As(err, &missing) && missing.Err != nil {
		err = missing.Err
	}
	return err.Error()
}

// ownPIDNamespace is the PID namespace of this process, in which it knows its
// own id; zero if it is the machine's.
func (a *app) ownPIDNamespace() (uint32, error) {
	return pidNamespace(a.ask(feature.PIDNamespace).Answer == feature.No)
}

// rehearsal is a connection of our own under a trace.
type rehearsal struct {
	source   tracer
	deadline time.Time
	pid      uint32
	// pidsKnown says that the trace knows processes by the numbers that they
	// have here.
	pidsKnown bool

	listener       *net.TCPListener
	client, server *net.TCPConn
	// port is the listener's; the client's is known later.
	port  uint16
	lives map[uint64][]event.Event // the transitions of our sockets, by their addresses
	lost  uint64
}

// The ways of the three sockets. The server ends the connection with a reset,
// as an orderly end would leave a TIME_WAIT behind.
var (
	wayOfListener = []event.State{event.Close, event.Listen, event.Close}
	wayOfClient   = []event.State{event.Close, event.SynSent, event.Established, event.FinWait1, event.FinWait2, event.Close}
	wayOfServer   = []event.State{event.Listen, event.SynRecv, event.Established, event.CloseWait, event.Close}
)

// run leads the connection through its life, and checks what is seen of it.
func (r *rehearsal) run(ctx context.Context) error {
	r.lives = map[uint64][]event.Event{}
	for _, step := range []struct {
		do   func(context.Context) error
		want int // transitions by then
	}{{r.listen, 1}, {r.connect, 5}, {r.halfClose, 8}, {r.reset, 11}} {
		if err := step.do(ctx); err != nil {
			return err
		}
		if err := r.await(step.want); err != nil {
			return err
		}
	}
	if err := r.judge(addrPort(r.listener.Addr()), addrPort(r.client.LocalAddr())); err != nil {
		return fmt.Errorf("%w: please report it with the output of tcpstates doctor --json", err)
	}
	return nil
}

func (r *rehearsal) listen(ctx context.Context) error {
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	l, err := config.Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	r.listener = l.(*net.TCPListener)
	r.port = l.Addr().(*net.TCPAddr).AddrPort().Port()
	return nil
}

func (r *rehearsal) connect(ctx context.Context) error {
	dialer := net.Dialer{Deadline: r.deadline}
	dialer.SetMultipathTCP(false)
	c, err := dialer.DialContext(ctx, "tcp4", r.listener.Addr().String())
	if err != nil {
		return fmt.Errorf("%w: ip link set lo up, or let the packet filter pass what goes over the loopback", err)
	}
	r.client = c.(*net.TCPConn)
	if err := r.listener.SetDeadline(r.deadline); err != nil {
		return err
	}
	r.server, err = r.listener.AcceptTCP()
	return err
}

func (r *rehearsal) halfClose(context.Context) error {
	if err := errors.Join(r.client.CloseWrite(), r.server.SetDeadline(r.deadline)); err != nil {
		return err
	}
	if _, err := r.server.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		return fmt.Errorf("read to the end of the connection: %w", err)
	}
	return nil
}

func (r *rehearsal) reset(context.Context) error {
	return errors.Join(r.server.SetLinger(0), r.server.Close(), r.client.Close(), r.listener.Close())
}

// close closes what is open; what is closed already makes no difference.
func (r *rehearsal) close() {
	if r.listener != nil {
		r.listener.Close()
	}
	for _, c := range []*net.TCPConn{r.client, r.server} {
		if c != nil {
			_ = c.SetLinger(0)
			c.Close()
		}
	}
}

// await reads events until so many transitions of our sockets were seen.
func (r *rehearsal) await(transitions int) error {
	for e := (event.Event{}); r.seen() < transitions; {
		if err := r.source.Read(&e); errors.Is(err, io.EOF) {
			return errors.New("it was interrupted")
		} else if err != nil {
			return err
		}
		r.take(&e)
		if time.Now().After(r.deadline) {
			return fmt.Errorf("%d of %d transitions were seen in %v, and %d events were lost: "+
				"please report it with the output of tcpstates doctor --json", r.seen(), transitions, selfTestLimit, r.lost)
		}
	}
	return nil
}

// take keeps a transition of ours. Some of a socket's do not have its ports; once
// it is closed, another socket may have its address.
func (r *rehearsal) take(e *event.Event) {
	r.lost += e.Lost
	life := r.lives[e.SkAddr]
	known := len(life) > 0 && life[len(life)-1].NewState != event.Close
	here := addrPort(r.listener.Addr())
	ours := len(life) == 0 && (e.Local == here || e.Remote == here)
	if e.Kind == event.KindTransition && (known || ours) {
		r.lives[e.SkAddr] = append(r.lives[e.SkAddr], *e)
	}
}

func (r *rehearsal) seen() (n int) {
	for _, life := range r.lives {
		n += len(life)
	}
	return n
}

// judge checks what was seen of the connection from there to here.
func (r *rehearsal) judge(here, there netip.AddrPort) error {
	for _, want := range []struct {
		name          string
		way           []event.State
		local, remote netip.AddrPort
		ownerKnown    bool
	}{
		{"listener", wayOfListener, here, netip.AddrPort{}, true},
		{"client", wayOfClient, there, here, true},
		{"server", wayOfServer, here, there, false},
	} {
		life := r.find(want.way[0], want.way[1])
		if err := checkWay(life, want.way); err != nil {
			return fmt.Errorf("the %s: %w", want.name, err)
		}
		for _, e := range life {
			if err := checkEnds(&e, want.local, want.remote); err != nil {
				return fmt.Errorf("the %s at %s: %w", want.name, e.NewState, err)
			}
			// Not all backends know the owners of what was accepted.
			if pid := e.Owner.PID; pid != r.pid && (pid != 0 || want.ownerKnown && r.pidsKnown) {
				return fmt.Errorf("the %s at %s: process %d has it, and not %d", want.name, e.NewState, pid, r.pid)
			}
		}
	}
	return nil
}

// find is the life that begins with the transition.
func (r *rehearsal) find(oldState, newState event.State) []event.Event {
	for _, life := range r.lives {
		if life[0].OldState == oldState && life[0].NewState == newState {
			return life
		}
	}
	return nil
}

func checkWay(life []event.Event, way []event.State) error {
	seen := ""
	right := len(life) == len(way)-1
	for i, e := range life {
		seen += fmt.Sprintf(" %s>%s", e.OldState, e.NewState)
		right = right && e.OldState == way[i] && e.NewState == way[i+1]
	}
	if !right {
		return fmt.Errorf("its states were%s", seen)
	}
	return nil
}

// checkEnds checks the ends of a transition, as far as they are known; when
// the connection is established both are.
func checkEnds(e *event.Event, local, remote netip.AddrPort) error {
	known := e.NewState == event.Established
	for _, end := range []struct{ got, want netip.AddrPort }{{e.Local, local}, {e.Remote, remote}} {
		if got := end.got.Port(); got != end.want.Port() && (got != 0 || known) {
			return fmt.Errorf("port %d, and not %d", got, end.want.Port())
		}
	}
	return nil
}

func addrPort(a net.Addr) netip.AddrPort { return a.(*net.TCPAddr).AddrPort() }
