package wire

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"

	"tcpstates/bpf"
	"tcpstates/internal/event"
)

// encode makes the record that the kernel side would send.
func encode(t testing.TB, r bpf.TcpstatesEvent) []byte {
	t.Helper()
	record, err := binary.Append(nil, binary.LittleEndian, r)
	if err != nil {
		t.Fatal(err)
	}
	return record
}

func comm(name string) (c [16]int8) {
	for i, b := range []byte(name) {
		c[i] = int8(b)
	}
	return c
}

func sample() bpf.TcpstatesEvent {
	return bpf.TcpstatesEvent{
		Time: 2_000_000_123, Since: 1_999_000_000, Cookie: 0x1f, Skaddr: 0xffff8881043ec0c0,
		Laddr4: [4]uint8{127, 0, 0, 1}, Raddr4: [4]uint8{10, 0, 0, 7},
		Curcomm: comm("ksoftirqd/1"), Comm: comm("nginx"),
		Curpid: 22, Pid: 4711, Uid: 33, Netns: 4026531840,
		Lport: 80, Rport: 40000, TpLport: 81,
		Family: afInet, Oldstate: 1, Newstate: 8, Kind: uint8(bpf.TcpstatesEventKindEVENT_TRANSITION), Size: uint16(Size),
		Cgroup: 4242, Source: 5, Flags: 1 | 2 | 8,
		Signal: 9, Shutdown: 3, Moment: 1_999_500_000, BytesAcked: 1 << 40, BytesReceived: 1 << 41,
		Srtt: 100_700 * 8, RttMin: 100_700, Retrans: 2, SegsIn: 11, SegsOut: 12, DataSegsIn: 7, Linger2: -1,
		ResetReason: 11, Err: 104, ErrSoft: 113, Facts: 1<<0 | 1<<7 | 1<<9,
	}
}

func TestDecode(t *testing.T) {
	want := event.Event{
		Kind: event.KindTransition, Ktime: 2_000_000_123, Since: 1_999_000_000,
		OldState: event.Established, NewState: event.CloseWait,
		Cookie: 0x1f, SkAddr: 0xffff8881043ec0c0, Family: event.IPv4,
		Local: netip.MustParseAddrPort("127.0.0.1:80"), Remote: netip.MustParseAddrPort("10.0.0.7:40000"),
		RawLocalPort: 81, Netns: 4026531840, UID: 33,
		Owner: event.Owner{
			Process: event.Process{PID: 4711, Comm: event.CommOf("nginx")},
			Source:  event.SourceIO, Cgroup: 4242,
		},
		Closes: true, Before: true,
		Current: event.Process{PID: 22, Comm: event.CommOf("ksoftirqd/1")},
		Signal:  9, Accepted: 1_999_500_000,
		Facts: event.Facts{
			Err: 104, SoftErr: 113, Shutdown: 3, Flags: event.Dead | event.GotReset | event.Child, Linger2: -1,
			SRTT: 100_700, MinRTT: 100_700, Retransmits: 2, BytesAcked: 1 << 40, BytesReceived: 1 << 41,
			SegsIn: 11, SegsOut: 12, DataSegsIn: 7,
		},
	}
	// The event is reused, and nothing of its past may show.
	got := event.Event{Kind: event.KindLost, Wall: 7, Lost: 9, Owner: event.Owner{Place: &event.Place{Unit: "x"}}}
	if err := Decode(encode(t, sample()), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestDecodeShort gives records of each length: what is not there is zero, whatever
// lies behind.
func TestDecodeShort(t *testing.T) {
	var whole event.Event
	if err := Decode(encode(t, sample()), &whole); err != nil {
		t.Fatal(err)
	}
	plain := whole
	plain.Accepted, plain.Facts = 0, event.Facts{Shutdown: 3}
	for size, want := range map[int]event.Event{Size: whole, 176: whole, 112: plain} {
		record := encode(t, change(func(r *bpf.TcpstatesEvent) { r.Size = uint16(size) }))[:size]
		got := event.Event{Lost: 9}
		if err := Decode(record, &got); err != nil || got != want {
			t.Errorf("%d bytes: got %+v, %v, want %+v", size, got, err, want)
		}
		if got, want := Time(record), uint64(2_000_000_123); got != want {
			t.Errorf("%d bytes: its time is %d, want %d", size, got, want)
		}
		if got, want := ResetReason(record), map[bool]int32{true: 11, false: -1}[size > 112]; got != want {
			t.Errorf("%d bytes: its reset's reason is %d, want %d", size, got, want)
		}
		if got := Length(append(record, 1, 2, 3)); got != size {
			t.Errorf("%d bytes: it says %d", size, got)
		}
		if got := Length(record[:len(record)-1]); got != 0 {
			t.Errorf("%d bytes, one of them cut off: it says %d", size, got)
		}
	}
}

func TestDecodeIPv6(t *testing.T) {
	r := sample()
	r.Family = afInet6
	r.Laddr = netip.MustParseAddr("::ffff:127.0.0.1").As16()
	r.Raddr = netip.MustParseAddr("2001:db8::7").As16()
	var e event.Event
	if err := Decode(encode(t, r), &e); err != nil {
		t.Fatal(err)
	}
	if got := e.Local.String() + " " + e.Remote.String(); got != "[::ffff:127.0.0.1]:80 [2001:db8::7]:40000" || e.Family != event.IPv6 {
		t.Errorf("got %s, family %d", got, e.Family)
	}
}

func TestDecodeFork(t *testing.T) {
	r := sample()
	r.Kind, r.Family = uint8(bpf.TcpstatesEventKindEVENT_FORK), 0
	want := event.Event{
		Kind: event.KindFork, Ktime: 2_000_000_123,
		Owner:   event.Owner{Process: event.Process{PID: 4711, Comm: event.CommOf("nginx")}},
		Current: event.Process{PID: 22, Comm: event.CommOf("ksoftirqd/1")},
	}
	for _, followed := range []bool{false, true} {
		if want.Followed = followed; followed {
			r.Flags |= uint8(bpf.TcpstatesEventFlagsEVENT_FOLLOWED)
		}
		got := event.Event{Kind: event.KindLost, Lost: 9}
		if err := Decode(encode(t, r), &got); err != nil || got != want {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		record []byte
		want   string
	}{
		"nothing":   {nil, "0 bytes"},
		"too short": {encode(t, sample())[:Size-1], "207 bytes"},
		"too long":  {append(encode(t, sample()), 0), "209 bytes"},
		"cut":       {encode(t, sample())[:112], "says it has 208"},
		"no room":   {encode(t, change(func(r *bpf.TcpstatesEvent) { r.Size, r.Family = 176, afInet6 }))[:176], "no room for the addresses of IPv6"},
		"size":      {encode(t, change(func(r *bpf.TcpstatesEvent) { r.Size = 64 })), "says it has 64"},
		"kind":      {encode(t, change(func(r *bpf.TcpstatesEvent) { r.Kind = 9 })), "unknown kind 9"},
		"family":    {encode(t, change(func(r *bpf.TcpstatesEvent) { r.Family = 1 })), "unknown address family 1"},
	} {
		var e event.Event
		if err := Decode(test.record, &e); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, test.want)
		}
	}
}

func change(f func(*bpf.TcpstatesEvent)) bpf.TcpstatesEvent {
	r := sample()
	f(&r)
	return r
}

// TestNamesEndAtTheirZero gives names of every length with what kernels before 5.17
// leave behind their end, bytes of all kinds among them.
func TestNamesEndAtTheirZero(t *testing.T) {
	for _, filler := range []string{"x", "\x01", "\x80", "\xff", "\x00y"} {
		for length := range 16 {
			name := strings.Repeat("\x80\x01n\xff", 4)[:length]
			stale := comm((name + "\x00" + strings.Repeat(filler, 16))[:16])
			var e event.Event
			if err := Decode(encode(t, change(func(r *bpf.TcpstatesEvent) { r.Comm, r.Curcomm = stale, stale })), &e); err != nil {
				t.Fatal(err)
			}
			if want := event.CommOf(name); e.Owner.Comm != want || e.Current.Comm != want {
				t.Errorf("of %q behind a name of %d bytes: got %q and %q, want %q", filler, length, e.Owner.Comm[:], e.Current.Comm[:], want[:])
			}
		}
	}
}

// FuzzDecode looks for records that make Decode panic, and for records that it
// takes though they are none.
func FuzzDecode(f *testing.F) {
	for _, size := range []int{Size, factsSize, plainSize} {
		f.Add(encode(f, change(func(r *bpf.TcpstatesEvent) { r.Size = uint16(size) }))[:size])
	}
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{0xff}, Size))
	f.Fuzz(func(t *testing.T, record []byte) {
		var e event.Event
		if err := Decode(record, &e); err != nil {
			return
		}
		if Length(record) != len(record) || !slices.Contains(kinds[:], e.Kind) || e.Kind == 0 {
			t.Errorf("took %d bytes as %+v", len(record), e)
		}
		if !e.Local.IsValid() || !e.Remote.IsValid() {
			t.Errorf("took %x as an event without addresses", record)
		}
		// The textual forms must hold for any content.
		for _, c := range []event.Comm{e.Owner.Comm, e.Current.Comm} {
			for _, r := range c.String() {
				if r < ' ' || r == 0x7f {
					t.Errorf("a control character %q in the name %q", r, c.String())
				}
			}
		}
	})
}

// TestRecordsAgree compares the layouts that clang gave the records with those
// that Go gives their mirrors.
func TestRecordsAgree(t *testing.T) {
	for _, test := range []struct {
		record string
		load   func() (*ebpf.CollectionSpec, error)
		mirror reflect.Type
		size   int
	}{
		{"event", bpf.LoadTcpstates, reflect.TypeFor[bpf.TcpstatesEvent](), Size},
		{"found", bpf.LoadSnapshot, reflect.TypeFor[bpf.SnapshotFound](), FoundSize},
		{"minisock", bpf.LoadSnapshot, reflect.TypeFor[bpf.SnapshotMinisock](), MinisockSize},
		{"owner", bpf.LoadSnapshot, reflect.TypeFor[bpf.SnapshotOwner](), int(unsafe.Sizeof(owner))},
		{"process", bpf.LoadSnapshot, reflect.TypeFor[bpf.SnapshotProcess](), int(unsafe.Sizeof(process))},
	} {
		spec, err := test.load()
		if err != nil {
			t.Fatal(err)
		}
		var record *btf.Struct
		if err := spec.Types.TypeByName(test.record, &record); err != nil {
			t.Fatal(err)
		}
		requireSameLayout(t, record, test.mirror, test.size)
	}
}

func requireSameLayout(t *testing.T, record *btf.Struct, mirror reflect.Type, want int) {
	t.Helper()
	if int(record.Size) != want || int(mirror.Size()) != want {
		t.Errorf("%s: clang's record has %d bytes, Go's %d, want %d", record.Name, record.Size, mirror.Size(), want)
	}
	compared := 0
	for _, member := range record.Members {
		field, found := mirror.FieldByName(goName(member.Name))
		if !found {
			t.Errorf("%s: Go's record has no field %s", record.Name, goName(member.Name))
			continue
		}
		size, err := btf.Sizeof(member.Type)
		if err != nil {
			t.Fatal(err)
		}
		if uintptr(member.Offset.Bytes()) != field.Offset || uintptr(size) != field.Type.Size() {
			t.Errorf("%s.%s: clang has it at %d with %d bytes, Go at %d with %d", record.Name, member.Name,
				member.Offset.Bytes(), size, field.Offset, field.Type.Size())
		}
		compared++
	}
	if compared != mirror.NumField()-1 { // the first field marks the layout as the host's
		t.Errorf("%s: %d fields compared, Go's record has %d", record.Name, compared, mirror.NumField()-1)
	}
}

func TestDecodeFound(t *testing.T) {
	record, err := binary.Append(nil, binary.LittleEndian, bpf.SnapshotFound{
		Cookie: 0x1f, Netns: 4026531840, Fd: 7, State: 10,
		Owner: bpf.SnapshotOwner{Process: bpf.SnapshotProcess{Comm: comm("nginx"), Pid: 4711}, Source: 6, Cgroup: 4242},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Found{
		Cookie: 0x1f, Netns: 4026531840, FD: 7, State: event.Listen,
		Owner: event.Owner{
			Process: event.Process{PID: 4711, Comm: event.CommOf("nginx")},
			Source:  event.SourceSeed, Cgroup: 4242,
		},
	}
	if got, err := DecodeFound(record); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for _, broken := range [][]byte{nil, record[1:], append(record, 0)} {
		if _, err := DecodeFound(broken); err == nil {
			t.Errorf("took %d bytes", len(broken))
		}
	}
}

func TestDecodeMinisock(t *testing.T) {
	record, err := binary.Append(nil, binary.LittleEndian, bpf.SnapshotMinisock{Cookie: 0x1f, Lport: 80, Rport: 40000, State: 5})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := DecodeMinisock(record); err != nil || got != (Minisock{0x1f, 80, 40000, event.FinWait2}) {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, broken := range [][]byte{nil, record[1:], append(record, 0)} {
		if _, err := DecodeMinisock(broken); err == nil {
			t.Errorf("took %d bytes", len(broken))
		}
	}
}

func TestResetReason(t *testing.T) {
	if got := ResetReason(encode(t, sample())); got != 11 {
		t.Errorf("got %d, want 11", got)
	}
	if got := ResetReason([]byte{1, 2}); got != -1 {
		t.Errorf("of a broken record: %d, want -1", got)
	}
}

// TestFactsAgree compares the flags of a socket with their bits in a record.
func TestFactsAgree(t *testing.T) {
	for bit, flag := range map[bpf.TcpstatesEventFacts]event.SockFlags{
		bpf.TcpstatesEventFactsFACT_DEAD:         event.Dead,
		bpf.TcpstatesEventFactsFACT_DONE:         event.Done,
		bpf.TcpstatesEventFactsFACT_LINGER0:      event.LingerZero,
		bpf.TcpstatesEventFactsFACT_NO_FILE:      event.NoFile,
		bpf.TcpstatesEventFactsFACT_USER_TIMEOUT: event.UserTimeout,
		bpf.TcpstatesEventFactsFACT_FAST_OPEN:    event.FastOpen,
		bpf.TcpstatesEventFactsFACT_COOKIE:       event.CookieEcho,
		bpf.TcpstatesEventFactsFACT_GOT_RESET:    event.GotReset,
		bpf.TcpstatesEventFactsFACT_SENT_RESET:   event.SentReset,
		bpf.TcpstatesEventFactsFACT_CHILD:        event.Child,
		bpf.TcpstatesEventFactsFACT_ALL_ACKED:    event.AllAcked,
		bpf.TcpstatesEventFactsFACT_REPAIR:       event.Repair,
		bpf.TcpstatesEventFactsFACT_UNREAD:       event.Unread,
	} {
		if uint32(bit) != uint32(flag) {
			t.Errorf("the fact %#x of a record is the flag %#x of an event", bit, flag)
		}
	}
}

// goName is bpf2go's name of a field.
func goName(name string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(name, "_") {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}

func TestDecodeAllocatesNothing(t *testing.T) {
	record := encode(t, sample())
	var e event.Event
	if n := testing.AllocsPerRun(100, func() { _ = Decode(record, &e) }); n != 0 {
		t.Errorf("%v allocations an event", n)
	}
}

func BenchmarkDecode(b *testing.B) {
	record := encode(b, sample())
	var e event.Event
	b.ReportAllocs()
	for b.Loop() {
		if err := Decode(record, &e); err != nil {
			b.Fatal(err)
		}
	}
}
