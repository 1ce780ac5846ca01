package main

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"time"
)

// unitOf is what a tracer counts by its lines.
type unitOf int

const (
	nothing     unitOf = iota // it has no line for each event
	transitions               // a line for each transition
	lives                     // a line for each end of a connection
)

// tracer is one way to trace: a row of the table.
type tracer struct {
	name    string
	command func(c *config) []string // what is run
	parse   parser
	lines   unitOf
	unit    time.Duration // of its times
	// late is how late some lines may come: tcpstates shows that an orphan is in
	// FIN_WAIT2 until it has asked the kernel what became of it, every 15 s at least.
	late time.Duration
	// in are the sections, beside those at a rate, that it takes part in.
	in sections
	// unavailable says why it cannot be run here, and is empty if it can. Nil if it
	// always can.
	unavailable func(c *config) string
}

type sections int

const (
	inLatency   sections = 1 << iota // from a transition to its line
	inScale                          // cost by the number of open connections
	inDurations                      // right times
	notInRates                       // not in the sections at a rate
)

// baseline is the tracer that others are held against.
const baseline = "libbpf-tools"

const (
	tracersOwn = "tcpstates"
	ourLate    = 16 * time.Second
)

// tracers are all, in the order in which they run and show.
var tracers = []tracer{
	{
		name: "no tracer", command: func(*config) []string { return nil },
	},
	{
		name: tracersOwn, command: ours(), parse: parseArrow, lines: transitions, unit: time.Millisecond,
		late: ourLate, in: inLatency | inScale | inDurations,
	},
	{
		name: tracersOwn + " -o libbpf", command: ours("-o", "libbpf"), parse: parseArrow, lines: transitions,
		unit: time.Millisecond, in: inLatency,
	},
	{
		name: tracersOwn + " -o json", command: ours("-o", "json"), parse: parseJSON, lines: transitions,
		unit: time.Millisecond, late: ourLate, in: inLatency,
	},
	{
		name: tracersOwn + " conns", command: ours("conns"), parse: parseLife, lines: lives, late: ourLate,
		in: inLatency | inScale,
	},
	{
		name: tracersOwn + " --summary --in-kernel", command: ours("--summary", "--in-kernel"), in: inScale,
		unavailable: knowsFlag("--in-kernel"),
	},
	{
		name: baseline, command: func(c *config) []string { return []string{c.libbpf} }, parse: parseArrow,
		lines: transitions, unit: time.Millisecond, in: inLatency | inScale | inDurations,
		unavailable: installed(func(c *config) string { return c.libbpf }, "libbpf-tools"),
	},
	{
		name: baseline + ", unbuffered", parse: parseArrow, lines: transitions, unit: time.Millisecond,
		command:     func(c *config) []string { return []string{"stdbuf", "-o0", c.libbpf} },
		in:          inLatency | notInRates,
		unavailable: installed(func(c *config) string { return c.libbpf }, "libbpf-tools"),
	},
	{
		name: "bpftrace", parse: parseNumbers, lines: transitions, unit: time.Microsecond,
		command:     func(c *config) []string { return []string{"bpftrace", "-e", bpftraceProgram(c.ipv6)} },
		in:          inLatency | inScale | inDurations,
		unavailable: installed(func(*config) string { return "bpftrace" }, "bpftrace"),
	},
	{
		name: "bpfcc-tools", command: func(*config) []string { return []string{"tcpstates-bpfcc"} }, parse: parseArrow,
		lines: transitions, unit: time.Millisecond, in: inLatency,
		unavailable: bpfcc,
	},
}

// untraced is the row without a tracer.
var untraced = &tracers[0]

// ours runs the tcpstates of this tree.
func ours(args ...string) func(c *config) []string {
	return func(c *config) []string { return append([]string{c.tcpstates}, args...) }
}

// bpftraceProgram prints a line for each transition with the time in the old
// state, which it keeps by the socket's address: what libbpf-tools does.
func bpftraceProgram(ipv6 bool) string {
	local, remote := "args->saddr", "args->daddr"
	if ipv6 {
		local, remote = "args->saddr_v6", "args->daddr_v6"
	}
	return strings.NewReplacer("LOCAL", local, "REMOTE", remote).Replace(`
tracepoint:sock:inet_sock_set_state /args->protocol == 6/ {
	$since = @since[args->skaddr];
	printf("%llx %d %s %s %d %s %d %d -> %d %d\n", args->skaddr, pid, comm, ntop(LOCAL), args->sport,
		ntop(REMOTE), args->dport, args->oldstate, args->newstate, $since ? (nsecs - $since) / 1000 : 0);
	if (args->newstate == 7) { delete(@since[args->skaddr]); } else { @since[args->skaddr] = nsecs; }
}
END { clear(@since); }`)
}

// parseLife reads a line of conns, which has "ROLE LADDR LPORT RADDR RPORT" in it.
func parseLife(raw []byte) (l line, ok bool) {
	words := strings.Fields(string(raw))
	for i, word := range words[:max(0, len(words)-4)] {
		if word != "client" && word != "server" && word != "listener" {
			continue
		}
		if _, err := netip.ParseAddr(words[i+1]); err != nil {
			continue // a process may be called so
		}
		l = line{
			laddr: []byte(words[i+1]), lport: []byte(words[i+2]), raddr: []byte(words[i+3]), rport: []byte(words[i+4]),
			oldState: []byte("ESTABLISHED"), newState: []byte("CLOSE"),
		}
		if word == "listener" {
			l.oldState = []byte("LISTEN")
		}
		return l, true
	}
	return line{}, false
}

// installed tells that a program's package is missing.
func installed(program func(c *config) string, pack string) func(c *config) string {
	return func(c *config) string {
		if _, err := exec.LookPath(program(c)); err != nil {
			return fmt.Sprintf("%s is not installed: apt-get install %s", program(c), pack)
		}
		return ""
	}
}

// knowsFlag tells that the tcpstates of this tree has no such flag.
func knowsFlag(flag string) func(c *config) string {
	return func(c *config) string {
		if help, err := exec.Command(c.tcpstates, "--help").Output(); err != nil || !strings.Contains(string(help), flag) {
			return c.tcpstates + " has no flag " + flag
		}
		return ""
	}
}

// bpfcc compiles its program on the machine, against the kernel's headers.
func bpfcc(c *config) string {
	if why := installed(func(*config) string { return "tcpstates-bpfcc" }, "bpfcc-tools")(c); why != "" {
		return why
	}
	for _, headers := range []string{"/lib/modules/" + c.release + "/build", "/sys/kernel/kheaders.tar.xz"} {
		if _, err := os.Stat(headers); err == nil {
			return ""
		}
	}
	return "the kernel's headers are not installed: apt-get install linux-headers-" + c.release
}
