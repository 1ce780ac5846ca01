package main

import (
	"bufio"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"tcpstates/internal/kerneltest"
	"tcpstates/internal/traffic"
	"tcpstates/internal/truth"
)

// asLoad is the environment variable that makes the test binary the program, for
// the tests and for the processes that it starts itself.
const asLoad = "TCPSTATES_TEST_LOAD"

func TestMain(m *testing.M) {
	if os.Getenv(asLoad) != "" {
		main()
		os.Exit(0)
	}
	kerneltest.Main()
	os.Exit(m.Run())
}

// command prepares a run of the program.
func command(args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), asLoad+"=1")
	cmd.Stderr = os.Stderr
	return cmd
}

// TestReached runs each kind of load and holds what it says of itself against
// the kernel's count.
func TestReached(t *testing.T) {
	kerneltest.Require(t)
	for name, args := range map[string][]string{
		"fast":         {"-connections", "3000"},
		"IPv6":         {"-connections", "10000", "-ipv6"}, // more than one destination has
		"rate":         {"-rate", "20000", "-duration", "300ms"},
		"life":         {"-rate", "9000", "-life", "50ms", "-connections", "301"},
		"held":         {"-open", "2001"},
		"held, beside": {"-open", "400", "-connections", "401", "-ipv6"},
	} {
		t.Run(name, func(t *testing.T) {
			ns := kerneltest.NewNetns(t)
			counter, err := truth.Start(ns.Inode)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { counter.Close() })
			var out []byte
			ns.Do(t, func() { out, err = command(args...).Output() })
			if err != nil {
				t.Fatal(err)
			}
			var said report
			if err := json.Unmarshal(out, &said); err != nil {
				t.Fatal(err)
			}
			ns.Settle(t)
			count, err := counter.Now()
			if err != nil {
				t.Fatal(err)
			}
			// What was missed may have been of others.
			want := uint64(said.Transitions)
			if got := count.All + count.Missed; got < want || count.All > want {
				t.Errorf("it says %d transitions, the kernel counted %d and missed %d", want, count.All, count.Missed)
			}
			if said.Connections == 0 || uint64(traffic.OfListener*said.Listeners) > count.OfListeners+count.Missed {
				t.Errorf("it says %+v", said)
			}
			// One in four ends by a reset; each source begins anew with that.
			ofConnections := said.Transitions - traffic.OfListener*said.Listeners
			off := float64(ofConnections) - traffic.MeanTransitions*float64(said.Connections)
			if math.Abs(off) > float64(traffic.InOrder*(runtime.NumCPU()+1)) {
				t.Errorf("%d connections had %d transitions", said.Connections, ofConnections)
			}
		})
	}
}

// TestHeldStay has connections held by several processes, and looks at each
// step how many there are.
func TestHeldStay(t *testing.T) {
	kerneltest.Require(t)
	ns := kerneltest.NewNetns(t)
	const held, beside = 600, 50
	// With so few files a process holds 300.
	cmd := exec.Command("sh", "-c", `ulimit -n 1000 && exec "$0" -open 600 -connections 50 -wait`, executable(t))
	cmd.Env = append(os.Environ(), asLoad+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	ns.Do(t, func() { err = cmd.Start() })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	lines := bufio.NewReader(out)
	for _, word := range []string{"ready", "done"} {
		if line, err := lines.ReadString('\n'); err != nil || line != word+"\n" {
			t.Fatalf("it says %q (%v), want %s", line, err, word)
		}
		if got := established(t, ns); got != 2*held {
			t.Errorf("%s with %d sockets that are established, want %d", word, got, 2*held)
		}
		if _, err := in.Write([]byte("\n")); err != nil {
			t.Fatal(err)
		}
	}
	var said report
	if err := json.NewDecoder(lines).Decode(&said); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if said.Connections != held+beside {
		t.Errorf("it says %+v", said)
	}
}

// executable is the test binary.
func executable(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// established counts the namespace's sockets in ESTABLISHED (proc_net(5)).
func established(t *testing.T, ns *kerneltest.Netns) (n int) {
	t.Helper()
	ns.Do(t, func() {
		table, err := os.ReadFile("/proc/thread-self/net/tcp")
		if err != nil {
			t.Error(err)
		}
		for line := range strings.Lines(string(table)) {
			if fields := strings.Fields(line); fields[3] == "01" {
				n++
			}
		}
	})
	return n
}

// TestBounds reads what the clients' times may be: of held ones and others.
func TestBounds(t *testing.T) {
	kerneltest.Require(t)
	ns := kerneltest.NewNetns(t)
	path := filepath.Join(t.TempDir(), "bounds")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	ns.Do(t, func() {
		_, err = command("-open", "100", "-rate", "9000", "-life", "30ms", "-connections", "200", "-bounds", path).Output()
	})
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	read := 0
	err = traffic.ReadBounds(file, func(b traffic.Bounds) {
		read++
		if b.Min < 30*time.Millisecond || b.Max < b.Min || !traffic.Network.Contains(b.Remote.Addr()) || b.Local.Port() == 0 {
			t.Errorf("read %+v", b)
		}
	})
	if err != nil || read != 300 {
		t.Errorf("%d bounds are read, of 300 connections (%v)", read, err)
	}
}

func TestBadUsage(t *testing.T) {
	for name, o := range map[string]options{
		"no end":                 {},
		"no end with a rate":     {rate: 10},
		"below 0":                {rate: -1, connections: 1},
		"opens without end":      {life: time.Second, connections: 1},
		"more than it has files": {rate: 1e9, life: time.Minute, connections: 1},
	} {
		if err := o.check(nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	good := options{held: 5}
	if err := good.check([]string{"fast"}); err == nil {
		t.Error("a word that is no flag passes")
	}
	if err := good.check(nil); err != nil {
		t.Error(err)
	}
}
