package output

import (
	"bytes"
	stdcsv "encoding/csv"
	stdjson "encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"tcpstates/internal/event"
	"tcpstates/internal/golden"
	"tcpstates/internal/kerneltest"
	"tcpstates/internal/pipeline"
)

func TestMain(m *testing.M) {
	kerneltest.Main()
	flag.Parse()
	time.Local = time.FixedZone("here", 2*60*60)
	os.Exit(m.Run())
}

// epoch is when the events of the tests happen.
var epoch = time.Date(2026, 11, 22, 21, 59, 59, 990_000_000, time.UTC)

// at is the wall clock and the kernel's clock so long after the beginning.
func at(d time.Duration) (wall int64, ktime uint64) {
	return epoch.Add(d).UnixNano(), uint64(100*time.Hour + d)
}

// hop makes a transition; lasted negative means that the duration is unknown.
func hop(after, lasted time.Duration, oldState, newState event.State, local, remote string, process event.Process) event.Event {
	e := event.Event{
		Kind: event.KindTransition, OldState: oldState, NewState: newState,
		Local: netip.MustParseAddrPort(local), Remote: netip.MustParseAddrPort(remote),
		Cookie: 0x1f, SkAddr: 0xffff8caa72f86300, Netns: 4026531840, UID: 1000, Owner: event.Owner{Process: process},
		Current: event.Process{PID: 0, Comm: event.CommOf("swapper/2")},
		Family:  event.IPv4,
	}
	if e.Local.Addr().Is6() {
		e.Family = event.IPv6
	}
	e.RawLocalPort = e.Local.Port()
	e.Wall, e.Ktime = at(after)
	if lasted >= 0 {
		e.Since = e.Ktime - uint64(lasted)
	}
	return e
}

// scene is what the goldens show: a client, a listener with a child, addresses
// of every length, a loss, and a hostile name.
func scene() []event.Event {
	var (
		curl    = event.Process{PID: 17205, Comm: event.CommOf("curl")}
		server  = event.Process{PID: 4194304, Comm: event.CommOf("systemd-resolve")}
		hostile = event.Process{PID: 666, Comm: event.CommOf("\x1b[2J,\"a\\\xff\n")}
		nobody  = event.Process{}
	)
	const us = time.Microsecond
	lost := event.Event{Kind: event.KindLost, Lost: 1234}
	lost.Wall, lost.Ktime = at(30 * time.Millisecond)
	first := hop(0, -1, event.Close, event.SynSent, "192.168.122.166:0", "10.4.204.72:443", curl)
	first.RawLocalPort = 51000 // stale
	first.Current = curl
	events := []event.Event{
		first,
		hop(5*time.Millisecond, 252507*us, event.SynSent, event.Established, "192.168.122.166:41538", "10.4.204.72:443", curl),
		hop(11*time.Millisecond, -1, event.Close, event.Listen, "[::]:53", "[::]:0", server),
		hop(12*time.Millisecond, -1, event.Listen, event.SynRecv, "[::ffff:10.0.0.1]:53", "[::ffff:10.0.0.2]:40000", server),
		hop(13*time.Millisecond, 15*us+123, event.SynRecv, event.Established, "[2001:db8:1234:5678:9abc:def0:1234:5678]:53", "[2001:db8:8765:4321:cba9:fed:4321:8765]:40000", nobody),
		hop(20*time.Millisecond, 36*time.Hour, event.Established, event.Close, "192.168.122.166:41538", "10.4.204.72:443", curl),
		lost,
		hop(2*time.Second, 1500*us, event.FinWait2, event.Close, "127.0.0.1:1", "127.0.0.1:65535", hostile),
		hop(2*time.Second, 0, event.Close, event.SynSent, "127.0.0.1:0", "127.0.0.1:22", nobody),
	}
	events[7].Current = hostile
	events[1].Owner.Source = event.SourceConnect
	events[5].Closes = true
	events[7].Before = true
	worker := hop(2100*time.Millisecond, -1, event.Established, event.Established, "127.0.0.1:80", "127.0.0.1:40001", server)
	worker.Kind = event.KindOwner
	worker.Owner.Source = event.SourceIO
	worker.Owner.Cgroup = 4242
	worker.Owner.Place = &event.Place{
		Cgroup: "/system.slice/a \"b\",\x1b.service", Unit: "a \"b\",\x1b.service",
		Container: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
		Pod:       "01234567-89ab-cdef-0123-456789abcdef",
	}
	served := worker
	served.Kind, served.NewState = event.KindTransition, event.FinWait1
	return append(events, worker, served)
}

// gaps are what a trace tells of what it does not show.
func gaps() []event.Event {
	unwritten := event.Event{Kind: event.KindLost, Lost: 56, Loss: event.LossDisk}
	unwritten.Wall, unwritten.Ktime = at(70 * time.Second)
	eighth := event.Event{Kind: event.KindSampling, OneIn: 8}
	eighth.Wall, eighth.Ktime = at(71 * time.Second)
	all := event.Event{Kind: event.KindSampling, OneIn: 1}
	all.Wall, all.Ktime = at(72 * time.Second)
	return []event.Event{unwritten, eighth, all}
}

// judged is the scene with what package conn adds to it.
func judged() []event.Event {
	const ms = time.Millisecond
	events := scene()
	events[len(events)-1].AcceptWait = event.Wait{Known: true, AtMost: true, Time: 12345 * time.Microsecond}
	events[1].Role = event.RoleClient
	events[1].Handshake = event.Handshake{Connect: 252507 * time.Microsecond, RTT: 100 * ms, Estimate: true}
	events[4].Role = event.RoleServer
	events[4].Handshake = event.Handshake{Took: 1129 * ms, Retransmits: 1}
	events[5].Role = event.RoleClient
	events[5].Facts.Err, events[5].Facts.SoftErr = 104, 113
	events[5].End = event.End{Reason: event.ReasonResetByPeer, Errno: 104}
	events[5].Traffic = event.Traffic{Known: true, Out: 512, In: 34_567, SegsOut: 9, SegsIn: 11, Retransmits: 2}
	events[7].NewState, events[7].Derived = event.TimeWait, true
	events[7].End = event.End{Reason: event.ReasonFinished, First: event.SideUs}
	events[7].Traffic = event.Traffic{Known: true, Out: 1_999_999, In: 0, SegsOut: 1400, SegsIn: 700}
	return append(events, happenings(events[0].Owner.Process, events[2].Owner.Process)...)
}

// happenings are events that leave the state as it is, and derived ones.
func happenings(client, server event.Process) []event.Event {
	syn := hop(3*time.Second, 999*time.Millisecond, event.SynSent, event.SynSent, "10.0.0.1:40000", "10.0.0.2:443", client)
	syn.Kind, syn.Facts.Retransmits, syn.Role = event.KindRetransmit, 1, event.RoleClient
	data := hop(3*time.Second, 999*time.Millisecond, event.Established, event.Established, "10.0.0.1:40000", "10.0.0.2:443", client)
	data.Kind, data.Facts.Retransmits = event.KindRetransmit, 3
	synAck := hop(3*time.Second, 999*time.Millisecond, event.NewSynRecv, event.NewSynRecv, "10.0.0.1:443", "10.0.0.2:40000", server)
	synAck.Kind, synAck.Facts.Retransmits, synAck.Role, synAck.UIDUnknown = event.KindSynAckRetransmit, 2, event.RoleServer, true
	received := hop(3*time.Second, 999*time.Millisecond, event.Established, event.Established, "10.0.0.1:443", "10.0.0.2:40000", server)
	received.Kind = event.KindResetReceived
	sent := received
	sent.Kind, sent.OldState, sent.NewState, sent.Facts.Reset = event.KindResetSent, event.Close, event.Close, "TCP_ABORT_ON_CLOSE"
	over := hop(63*time.Second, 60*time.Second, event.TimeWait, event.Close, "10.0.0.1:443", "10.0.0.2:40000", server)
	over.Derived, over.Before, over.SkAddr, over.Current = true, true, 0, event.Process{}
	over.Fate = event.FateEarly
	return []event.Event{syn, data, synAck, received, sent, over}
}

// ended are the connections that the goldens of conns show.
func ended() []event.Event {
	client := hop(0, 1200*time.Millisecond, event.FinWait2, event.TimeWait, "192.168.122.166:41538", "10.4.204.72:443",
		event.Process{PID: 17205, Comm: event.CommOf("curl")})
	client.Kind, client.Role = event.KindConn, event.RoleClient
	client.Handshake = event.Handshake{Connect: 100_900 * time.Microsecond, RTT: 100_700 * time.Microsecond}
	client.End = event.End{Reason: event.ReasonFinished, First: event.SideUs, By: client.Owner.Process}
	client.Traffic = event.Traffic{Known: true, Out: 78, In: 34_567, SegsOut: 20, SegsIn: 30}
	client.Times[event.SynSent] = 100_900 * time.Microsecond
	client.Times[event.Established] = time.Second
	server := hop(time.Second, 90*time.Second, event.Established, event.Close, "[2001:db8::1]:443", "[2001:db8::2]:50000",
		event.Process{PID: 4194304, Comm: event.CommOf("\x1b[2J,\"a")})
	server.Kind, server.Role, server.Before = event.KindConn, event.RoleServer, true
	server.Handshake = event.Handshake{Took: 3 * time.Second, Retransmits: 2}
	server.AcceptWait = event.Wait{Known: true, Time: 15 * time.Millisecond}
	server.End = event.End{
		Reason: event.ReasonAborted, Errno: 103, Reset: "NOT_SPECIFIED",
		By: event.Process{PID: 7, Comm: event.CommOf("ss")},
	}
	server.Traffic = event.Traffic{Known: true}
	server.Times[0] = time.Millisecond
	lost := event.Event{Kind: event.KindLost, Lost: 3}
	lost.Wall, lost.Ktime = at(2 * time.Second)
	killed := client
	killed.Handshake = event.Handshake{Connect: time.Millisecond, Retransmits: 1, Way: event.WayFastOpen}
	killed.End = event.End{Reason: event.ReasonKilled, Signal: 9, First: event.SideUs}
	unknown := client
	unknown.End, unknown.Traffic, unknown.Handshake, unknown.Role = event.End{}, event.Traffic{}, event.Handshake{}, 0
	return []event.Event{client, server, lost, killed, unknown}
}

// listing is what the goldens of list show.
func listing() []event.Event {
	nginx := event.Process{PID: 1234, Comm: event.CommOf("nginx")}
	socket := func(state event.State, local, remote string, owner event.Process, recvQ, sendQ uint32) event.Event {
		e := hop(0, -1, state, state, local, remote, owner)
		e.Kind, e.RecvQ, e.SendQ = event.KindSocket, recvQ, sendQ
		return e
	}
	listener := socket(event.Listen, "0.0.0.0:443", "0.0.0.0:0", nginx, 3, 511)
	listener.Owner.Cgroup = 77
	listener.Owner.Place = &event.Place{Cgroup: "/system.slice/nginx.service", Unit: "nginx.service"}
	timeWait := socket(event.TimeWait, "10.0.0.1:443", "10.0.0.2:50000", event.Process{}, 0, 0)
	timeWait.Left = 59_940 * time.Millisecond
	unconnected := socket(event.Close, "127.0.0.1:53", "0.0.0.0:0", nginx, 0, 0)
	unconnected.Datagram = true
	connected := socket(event.Established, "127.0.0.1:40000", "127.0.0.1:53", nginx, 0, 0)
	connected.Datagram = true
	return []event.Event{
		listener,
		socket(event.Established, "[2001:db8:1234:5678:9abc:def0:1234:5678]:443", "[2001:db8::7]:40000", nginx, 0, 1_000_000),
		socket(event.SynRecv, "10.0.0.1:443", "10.0.0.3:40000", event.Process{}, 0, 0),
		timeWait, unconnected, connected,
	}
}

var start = event.Start{Version: "v0.1", Kernel: `6.18 "quoted"`, Backend: "tp_btf, ring buffer, socket storage"}
var stop = event.Stop{Shown: 8, Lost: 1234, Missed: 0, Gaps: 2, Evicted: 5, Unfollowed: 6, Unwritten: 56, UnsampledConns: 11, Unsampled: 99}

// render writes the scene.
func render(t testing.TB, format string, o Options) (out, notes string) {
	t.Helper()
	var data, beside bytes.Buffer
	o.Out, o.Notes = &data, &beside
	if o.Width == nil {
		o.Width = func() int { return 0 }
	}
	f, found := Find(format)
	if !found {
		t.Fatalf("no format %s", format)
	}
	sink := f.New(o)
	begin, end := start, stop
	begin.Wall, _ = at(-time.Second)
	end.Wall, _ = at(10 * time.Second)
	err := sink.Start(begin)
	events := scene()
	switch {
	case o.Of == OfTransitions && !f.Raw:
		events = judged()
	case o.Of == OfSockets:
		events = listing()
	case o.Of == OfConns:
		events = ended()
	}
	if o.Of != OfSockets {
		events = append(events, gaps()...)
	}
	for _, e := range events {
		err = errors.Join(err, sink.Write(&e))
	}
	if err = errors.Join(err, sink.Stop(end)); err != nil {
		t.Fatal(err)
	}
	return data.String(), beside.String()
}

// goldens are the formats with their flags, by the name of their file.
var goldens = map[string]struct {
	format  string
	options Options
}{
	"table":       {"table", Options{}},
	"table-time":  {"table", Options{Time: true, Elapsed: true}},
	"table-t":     {"table", Options{Elapsed: true}},
	"table-60":    {"table", Options{Width: func() int { return 60 }}},
	"table-80":    {"table", Options{Width: func() int { return 80 }}},
	"table-80-T":  {"table", Options{Width: func() int { return 80 }, Time: true}},
	"table-100":   {"table", Options{Width: func() int { return 100 }}},
	"table-120":   {"table", Options{Width: func() int { return 120 }}},
	"table-200":   {"table", Options{Width: func() int { return 200 }}},
	"table-color": {"table", Options{Width: func() int { return 120 }, Color: true}},
	"table-w":     {"table", Options{Wide: true}},
	"wide":        {"wide", Options{}},
	"wide-80":     {"wide", Options{Width: func() int { return 80 }}},
	"csv":         {"csv", Options{}},
	"csv-t":       {"csv", Options{Elapsed: true}},
	"json":        {"json", Options{}},
	"json-t":      {"json", Options{Elapsed: true}},
	"bcc":         {"bcc", Options{}},
	"bcc-T":       {"bcc", Options{Time: true}},
	"bcc-t":       {"bcc", Options{Elapsed: true}},
	"bcc-w":       {"bcc", Options{Wide: true}},
	"bcc-s":       {"bcc", Options{CSV: true}},
	"bcc-sTt":     {"bcc", Options{CSV: true, Time: true, Elapsed: true}},
	"bcc-wTt":     {"bcc", Options{Wide: true, Time: true, Elapsed: true}},
	"libbpf":      {"libbpf", Options{}},
	"libbpf-T":    {"libbpf", Options{Time: true}},
	"libbpf-w":    {"libbpf", Options{Wide: true}},
	"libbpf-Tw":   {"libbpf", Options{Time: true, Wide: true}},
	"raw":         {"table", Options{Of: OfRaw}},
	"raw-json":    {"json", Options{Of: OfRaw}},
	"conns":       {"table", Options{Of: OfConns}},
	"conns-80":    {"table", Options{Of: OfConns, Width: func() int { return 80 }}},
	"conns-160":   {"table", Options{Of: OfConns, Width: func() int { return 160 }}},
	"conns-w":     {"table", Options{Of: OfConns, Wide: true}},
	"conns-csv":   {"csv", Options{Of: OfConns}},
	"conns-csv-t": {"csv", Options{Of: OfConns, Elapsed: true}},
	"conns-json":  {"json", Options{Of: OfConns}},
	"list":        {"table", Options{Of: OfSockets}},
	"list-60":     {"table", Options{Of: OfSockets, Width: func() int { return 60 }}},
	"list-80":     {"table", Options{Of: OfSockets, Width: func() int { return 80 }}},
	"list-w":      {"table", Options{Of: OfSockets, Wide: true}},
	"list-csv":    {"csv", Options{Of: OfSockets}},
	"list-json":   {"json", Options{Of: OfSockets}},
	"logfmt":      {"logfmt", Options{}},

	"conns-logfmt":   {"logfmt", Options{Of: OfConns}},
	"list-logfmt":    {"logfmt", Options{Of: OfSockets}},
	"columns":        {"table", with("table", chosen, Options{})},
	"columns-80":     {"table", with("table", chosen, Options{Width: func() int { return 80 }})},
	"columns-200":    {"table", with("table", chosen, Options{Width: func() int { return 200 }, Color: true})},
	"columns-edits":  {"table", with("table", "+container,-sock,-oldstate,+uid", Options{})},
	"columns-wide":   {"wide", with("wide", "-cgroup,+reason,+state", Options{})},
	"columns-csv":    {"csv", with("csv", "time,rport,pid,comm,note", Options{})},
	"columns-json":   {"json", with("json", "time,rport,pid,type,note", Options{})},
	"columns-logfmt": {"logfmt", with("logfmt", "-cgroup,-container,-note,+elapsed", Options{})},
	"columns-conns":  {"table", with("table", "comm,connect_ms,handshake_ms,rtt_estimate_ms,ms_min,reason,cause,note", Options{Of: OfConns})},
	"columns-list":   {"table", with("table", "-proto,+uid", Options{Of: OfSockets, Width: func() int { return 60 }})},
	"names":          {"table", named},
	"names-80":       {"table", narrow(named)},
	"names-json":     {"json", named},
	"names-csv":      {"csv", named},
	"names-list":     {"table", with("table", "-recvq,+rname", Options{Of: OfSockets, Names: named.Names, Services: named.Services})},
}

const goldenDir = "../../testdata/golden"

func TestGoldens(t *testing.T) {
	for name, test := range goldens {
		t.Run(name, func(t *testing.T) {
			got, _ := render(t, test.format, test.options)
			golden.Check(t, filepath.Join(goldenDir, name+".txt"), got)
		})
	}
}

func TestEveryFormatHasAGolden(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(goldenDir, "*.txt"))
	if err != nil || len(files) != len(goldens) {
		t.Errorf("%d golden files for %d goldens, %v", len(files), len(goldens), err)
	}
	for _, f := range Formats {
		if _, found := goldens[f.Name]; !found {
			t.Errorf("the format %s has no golden", f.Name)
		}
	}
}

func TestTableFitsItsTerminal(t *testing.T) {
	for width := 70; width <= 220; width++ {
		out, _ := render(t, "table", Options{Width: func() int { return width }})
		for line := range strings.Lines(out) {
			// A duration of hours is never cut, nor is the sentence of a loss.
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > width &&
				!strings.Contains(line, "129600000.000") && !strings.Contains(line, "lost") {
				t.Errorf("%d characters in a line of a terminal with %d: %s", n, width, line)
			}
		}
	}
}

// TestNothingRawGetsOut looks for what a process could smuggle through its
// name to a terminal or a parser.
func TestNothingRawGetsOut(t *testing.T) {
	for name, test := range goldens {
		if test.options.Color {
			continue
		}
		out, _ := render(t, test.format, test.options)
		if !utf8.ValidString(out) {
			t.Errorf("%s: invalid UTF-8", name)
		}
		for _, r := range out {
			if r < ' ' && r != '\n' && r != '\r' || r >= 0x7f && r < 0xa0 {
				t.Errorf("%s: the control character %q", name, r)
			}
		}
	}
}

// TestFieldsAreTheSame reads CSV and JSON back with the standard library's
// readers: each field of the one is that of the other.
func TestFieldsAreTheSame(t *testing.T) {
	for _, options := range []Options{{}, {Elapsed: true}, {Of: OfRaw}, {Of: OfConns}, {Of: OfConns, Elapsed: true}, {Of: OfSockets}} {
		text, _ := render(t, "csv", options)
		rows, err := stdcsv.NewReader(strings.NewReader(text)).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		text, _ = render(t, "json", options)
		lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		if len(lines) != len(rows)+1 { // start and stop, and no header
			t.Fatalf("%d rows of CSV, %d of JSON", len(rows), len(lines))
		}
		for i, row := range rows[1:] {
			decoder := stdjson.NewDecoder(strings.NewReader(lines[i+1]))
			decoder.UseNumber()
			var object map[string]any
			if err := decoder.Decode(&object); err != nil {
				t.Fatalf("%v in %s", err, lines[i+1])
			}
			for j, name := range rows[0] {
				value, present := object[name]
				if present != (row[j] != "") || present && row[j] != fmt.Sprint(value) {
					t.Errorf("row %d: %s is %q in CSV and %v in JSON", i, name, row[j], value)
				}
				delete(object, name)
			}
			if len(object) != 0 {
				t.Errorf("row %d: fields %v in JSON alone", i, object)
			}
		}
	}
}

func TestStartAndStopInJSON(t *testing.T) {
	out, _ := render(t, "json", Options{})
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	for line, want := range map[string]map[string]any{
		lines[0]: {"type": "start", "schema": 1.0, "time": "2026-11-22T21:59:58.990000000Z",
			"version": "v0.1", "kernel": `6.18 "quoted"`, "backend": "tp_btf, ring buffer, socket storage"},
		lines[len(lines)-1]: {"type": "stop", "time": "2026-11-22T22:00:09.990000000Z",
			"shown": 8.0, "lost": 1234.0, "missed": 0.0, "gaps": 2.0, "evicted": 5.0, "unfollowed": 6.0, "unwritten": 56.0, "unsampled_conns": 11.0, "unsampled": 99.0},
	} {
		var got map[string]any
		if err := stdjson.Unmarshal([]byte(line), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
}

func TestDropInsTellOfLossBesideTheData(t *testing.T) {
	for _, format := range []string{"bcc", "libbpf"} {
		out, notes := render(t, format, Options{})
		if !strings.Contains(notes, "1234 events lost") || strings.Contains(out, "lost") {
			t.Errorf("%s: the notes are %q", format, notes)
		}
	}
}

func TestTableFollowsItsTerminal(t *testing.T) {
	var out bytes.Buffer
	width := 80
	f, _ := Find("table")
	sink := f.New(Options{Out: &out, Width: func() int { return width }})
	e := scene()[1]
	for _, width = range []int{80, 80, 130} {
		if err := errors.Join(sink.Write(&e), sink.Flush()); err != nil {
			t.Fatal(err)
		}
	}
	if headers := strings.Count(out.String(), "OLDSTATE"); headers != 1 {
		t.Errorf("%d headers after one change of width:\n%s", headers, &out)
	}
}

// failing is a full disk.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestWriteErrorsAreTold(t *testing.T) {
	for _, f := range Formats {
		sink := f.New(Options{Out: failing{}, Notes: io.Discard, Width: func() int { return 0 }})
		e := scene()[0]
		if err := errors.Join(sink.Start(start), sink.Write(&e), sink.Flush()); !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("%s: got %v", f.Name, err)
		}
	}
}

// steady makes a sink that has written its first lines, and an event.
func steady(t testing.TB, f Format) (pipeline.Sink, *event.Event) {
	t.Helper()
	sink := f.New(Options{Out: io.Discard, Notes: io.Discard, Width: func() int { return 120 }, Color: true})
	e := scene()[1]
	if err := errors.Join(sink.Start(start), sink.Write(&e), sink.Flush()); err != nil {
		t.Fatal(err)
	}
	return sink, &e
}

func TestWritingAllocatesNothing(t *testing.T) {
	for _, f := range Formats {
		sink, e := steady(t, f)
		// More than a buffer's worth, so that writing it out is among it.
		if n := testing.AllocsPerRun(2000, func() { _ = sink.Write(e) }); n != 0 {
			t.Errorf("%s: %v allocations an event", f.Name, n)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	for _, f := range Formats {
		b.Run(f.Name, func(b *testing.B) {
			sink, e := steady(b, f)
			b.ReportAllocs()
			for b.Loop() {
				e.Wall += 5000
				if err := sink.Write(e); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
