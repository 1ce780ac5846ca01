package output

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"tcpstates/internal/event"
	"tcpstates/internal/kerneltest"
)

func TestMessages(t *testing.T) {
	events := judged()
	conns := ended()
	lost := conns[2]
	for _, test := range []struct {
		e    event.Event
		want string
	}{
		{events[0], "curl[17205] 192.168.122.166:- -- 10.4.204.72:443 CLOSE -> SYN_SENT"},
		{events[1], "curl[17205] 192.168.122.166:41538 -> 10.4.204.72:443 SYN_SENT -> ESTABLISHED after 252.507 ms: connect 252.5ms rtt ~100.0ms"},
		{events[2], "systemd-resolve[4194304] [::]:53 CLOSE -> LISTEN"},
		{events[4], "- [2001:db8:1234:5678:9abc:def0:1234:5678]:53 <- [2001:db8:8765:4321:cba9:fed:4321:8765]:40000 " +
			"SYN_RECV -> ESTABLISHED after 0.015 ms: handshake 1.12s, SYN-ACK retransmit x1"},
		{events[7], `\x1b[2J,"a\\\xff\x0a[666] 127.0.0.1:1 -- 127.0.0.1:65535 FIN_WAIT2 -> TIME_WAIT after >=1.5 ms: we closed first, 1.9MB out 0B in`},
		{events[9], "systemd-resolve[4194304] 127.0.0.1:80 -- 127.0.0.1:40001 has this owner now"},
		{events[11], "curl[17205] 10.0.0.1:40000 -> 10.0.0.2:443 in SYN_SENT: SYN retransmit x1"},
		{conns[0], "curl[17205] 192.168.122.166:41538 -> 10.4.204.72:443 ended after 1200.000 ms: we closed first, 78B out 34kB in"},
		{gaps()[0], "-- 56 events not written: no space left on device --"},
		{gaps()[1], "-- of new connections one in 8 is shown --"},
		{gaps()[2], "-- of new connections all are shown --"},
		{lost, "-- 3 events lost: buffer full, see --buffer --"},
	} {
		if got := string(appendMessage(nil, &test.e)); got != test.want {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
	}
}

// isInSandbox is the environment variable of the process that has a journald.
const isInSandbox = "OUTPUT_TEST_JOURNAL"

// TestJournalEntries sends, from a process that finds a journald, an entry of
// each kind and one that is too big for a message.
func TestJournalEntries(t *testing.T) {
	if os.Getenv(isInSandbox) != "" {
		sendEntries(t)
		return
	}
	kerneltest.Require(t)
	journald := kerneltest.StartJournald(t)
	sender := exec.Command("/proc/self/exe", "-test.run=^TestJournalEntries$")
	sender.Env = append(os.Environ(), isInSandbox+"=1")
	journald.Sandbox(sender)
	if out, err := sender.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []map[string]string{
		{"PRIORITY": "6", "TCPSTATES_OLD_STATE": "SYN_SENT", "OBJECT_PID": "17205"},
		{"PRIORITY": "4", "TCPSTATES_REASON": "reset by peer"},
		{"PRIORITY": "3", "TCPSTATES_LOST": "1234", "TCPSTATES_OLD_STATE": "", "OBJECT_PID": ""},
		{"PRIORITY": "6", "TCPSTATES_CGROUP": hugePath},
	} {
		entry := journald.Next(t)
		for field, value := range want {
			if entry[field] != value {
				t.Errorf("%s is %.100q, want %.100q, in %s", field, entry[field], value, entry["MESSAGE"])
			}
		}
	}
	if journald.Files != 1 {
		t.Errorf("%d entries came as files, want the last", journald.Files)
	}
}

// hugePath is longer than any message may be (wmem_max, socket(7)).
var hugePath = "/" + strings.Repeat("a", 500_000)

func sendEntries(t *testing.T) {
	j, err := NewJournal(JournalOptions{PIDs: true, Failed: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	events := judged()
	huge := events[1]
	huge.Owner.Place = &event.Place{Cgroup: hugePath}
	for _, e := range []event.Event{events[1], events[5], events[6], huge} {
		if err := j.Write(&e); err != nil {
			t.Error(err)
		}
	}
	if missed := j.Close(time.Minute); missed != 0 {
		t.Errorf("%d entries missed", missed)
	}
}

// TestWritingToTheJournalNeverWaits: what has no room in the queue is counted.
func TestWritingToTheJournalNeverWaits(t *testing.T) {
	j := &Journal{queue: make(chan event.Event, 2), done: make(chan struct{})} // and nobody reads
	e := judged()[1]
	if n := testing.AllocsPerRun(10, func() { _ = j.Write(&e) }); n != 0 {
		t.Errorf("%v allocations an event", n)
	}
	// AllocsPerRun runs it once more, to warm up; what is under way counts as missed.
	if missed := j.Close(0); missed != 11+1 {
		t.Errorf("%d missed of 11 with none taken", missed)
	}
}
