package cli

import (
	"bufio"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tcpstates/internal/kerneltest"
)

// BenchmarkStorm has the built binary write a storm to a file and reports how
// fast the storm was, what was lost, and what the command cost.
func BenchmarkStorm(b *testing.B) {
	for _, format := range []string{"table", "csv", "json"} {
		b.Run(format, func(b *testing.B) {
			kerneltest.Require(b)
			ns := kerneltest.NewNetns(b)
			trace := startLive(b, outputFile(b), "-o", format)
			begin := time.Now()
			kerneltest.Storm(b, ns, 180_000)
			took := time.Since(begin)
			ns.Settle(b)
			peak := memoryMiB(b, trace.Process.Pid, "VmHWM")
			shown, lost := counts(b, trace.end(b))
			cpu := trace.ProcessState.UserTime() + trace.ProcessState.SystemTime()
			for b.Loop() {
				// The storm above is the measurement.
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(shown/took.Seconds(), "transitions/s")
			b.ReportMetric(took.Seconds(), "s")
			b.ReportMetric(lost, "lost")
			b.ReportMetric(float64(cpu.Nanoseconds())/shown, "cpu-ns/event")
			b.ReportMetric(peak, "peak-MiB")
		})
	}
}

// counts reads the numbers of the last line.
func counts(b *testing.B, summary string) (shown, lost float64) {
	b.Helper()
	words := strings.Fields(summary) // tcpstates: N transitions shown, N lost in ...
	if len(words) < 5 {
		b.Fatalf("a summary of %q", summary)
	}
	shown, err := strconv.ParseFloat(words[1], 64)
	if err != nil {
		b.Fatal(err)
	}
	if lost, err = strconv.ParseFloat(words[4], 64); err != nil {
		b.Fatal(err)
	}
	return shown, lost
}

// BenchmarkStart measures from the start of the process until tracing has
// begun, and the memory that it holds then.
func BenchmarkStart(b *testing.B) {
	var resident float64
	for b.Loop() {
		trace := startLive(b, outputFile(b))
		resident = memoryMiB(b, trace.Process.Pid, "VmRSS")
		trace.end(b)
	}
	b.ReportMetric(resident, "resident-MiB")
}

// memoryMiB is a measure of the process's memory, of those in
// proc_pid_status(5).
func memoryMiB(b *testing.B, pid int, measure string) float64 {
	b.Helper()
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		b.Fatal(err)
	}
	_, value, _ := strings.Cut(string(status), measure+":")
	kB, err := strconv.ParseFloat(strings.Fields(value)[0], 64)
	if err != nil {
		b.Fatal(err)
	}
	return kB / 1024
}

// BenchmarkLatency measures from a listener's opening and closing until its
// last line comes out of the command's pipe: alone after a quiet time, and
// right after the one before.
func BenchmarkLatency(b *testing.B) {
	b.Run("alone", func(b *testing.B) { benchmarkLatency(b, 30*time.Millisecond) })
	b.Run("in a row", func(b *testing.B) { benchmarkLatency(b, 0) })
}

func benchmarkLatency(b *testing.B, quiet time.Duration) {
	kerneltest.Require(b)
	ns := kerneltest.NewNetns(b)
	reader, writer, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	trace := startLive(b, writer, "-o", "csv")
	writer.Close()
	lines := bufio.NewReader(reader)
	var took []time.Duration
	ns.Do(b, func() {
		for b.Loop() {
			time.Sleep(quiet)
			begin := time.Now()
			l := kerneltest.Listen(b, "tcp4", "127.0.0.1:0")
			l.Close()
			for {
				line, err := lines.ReadString('\n')
				if err != nil {
					b.Fatal(err)
				}
				if strings.Contains(line, ",LISTEN,CLOSE,") {
					break
				}
			}
			took = append(took, time.Since(begin))
		}
	})
	reader.Close()
	_ = trace.Wait()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "median-ms")
	b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "max-ms")
}

// BenchmarkTimeWait measures what it costs to follow sockets in TIME_WAIT,
// while nothing else happens.
func BenchmarkTimeWait(b *testing.B) {
	kerneltest.Require(b)
	ns := kerneltest.NewNetns(b)
	// So that the namespace has a process and can be asked.
	kerneltest.StartHelper(b, ns, "resident")
	trace := startLive(b, outputFile(b))
	kerneltest.Storm(b, ns, 134_000)
	ns.Settle(b)
	const watched = 10 * time.Second
	time.Sleep(3 * time.Second) // the storm's own work is done by then
	before := cpuTime(b, trace.Process.Pid)
	time.Sleep(watched)
	took := cpuTime(b, trace.Process.Pid) - before
	sockets := ns.CountTimeWait(b)
	for b.Loop() {
		// The time above is the measurement.
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(sockets), "TIME_WAIT")
	b.ReportMetric(100*took.Seconds()/watched.Seconds(), "cpu-%")
	b.ReportMetric(memoryMiB(b, trace.Process.Pid, "VmRSS"), "resident-MiB")
	trace.end(b)
}

// cpuTime is what the process has used of CPUs (proc_pid_stat(5)).
func cpuTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	const utime, stime, ticks = 11, 12, 100 // per second (USER_HZ)
	user, _ := strconv.Atoi(fields[utime])
	system, _ := strconv.Atoi(fields[stime])
	return time.Duration(user+system) * time.Second / ticks
}
