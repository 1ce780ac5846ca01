package probe

import (
	"net"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"tcpstates/internal/filter"
	"tcpstates/internal/kerneltest"
)

// measurePrograms has the kernel measure how long programs run, until the benchmark ends.
func measurePrograms(b *testing.B) {
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { stats.Close() })
}

// BenchmarkKernel measures what the programs of each backend add to a transition,
// by the kernel's own clock of them, which itself costs some 40 ns a run: the
// median of several storms, in which each transition runs all of them.
func BenchmarkKernel(b *testing.B) {
	kerneltest.Require(b)
	measurePrograms(b)
	for _, row := range backends {
		for _, way := range transports {
			b.Run(row.name+" "+way.name, func(b *testing.B) {
				benchmarkKernel(b, Options{Backend: Backend{row}, Transport: Transport{way}})
			})
			b.Run(row.name+" "+way.name+", filtered", func(b *testing.B) { // all pass
				benchmarkKernel(b, Options{Backend: Backend{row}, Transport: Transport{way}, Filter: filter.Lowered{
					Ports: ports(true, 1), Addrs: addrs(false, "127.0.0.0/8"),
				}})
			})
		}
	}
	b.Run("as since Linux 7.0", func(b *testing.B) {
		asSinceLinux7(b)
		benchmarkKernel(b, Options{})
	})
}

func benchmarkKernel(b *testing.B, o Options) {
	const rounds, connections = 7, 10_000
	var perEvent []float64
	for range rounds {
		ns := kerneltest.NewNetns(b)
		c := trace(b, o)
		kerneltest.Storm(b, ns, connections)
		events := len(c.end(b))
		var total float64
		for _, name := range c.onTransitions() {
			s, err := c.objects.Programs[name].Stats()
			if err != nil {
				b.Fatal(err)
			}
			total += float64(s.Runtime.Nanoseconds())
		}
		perEvent = append(perEvent, total/float64(events))
	}
	for b.Loop() {
		// The rounds above are the measurement.
	}
	slices.Sort(perEvent)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(perEvent[rounds/2], "kernel-ns/event")
}

// BenchmarkSummary measures what the programs of the summary add to a transition, as
// BenchmarkKernel does for those of the trace.
func BenchmarkSummary(b *testing.B) {
	kerneltest.Require(b)
	measurePrograms(b)
	b.Run("all", func(b *testing.B) { benchmarkSummary(b, Options{}) })
	b.Run("filtered", func(b *testing.B) { // all pass
		benchmarkSummary(b, Options{Filter: filter.Lowered{
			Ports: ports(true, 1), Addrs: addrs(false, "127.0.0.0/8"),
		}})
	})
}

func benchmarkSummary(b *testing.B, o Options) {
	const rounds, connections = 7, 20_000
	var perEvent []float64
	each := map[string][]float64{}
	for range rounds {
		ns := kerneltest.NewNetns(b)
		s := openSummary(b, o)
		kerneltest.Storm(b, ns, connections)
		s.Stop()
		events := float64(counted(b, s).Sum())
		var total float64
		for _, name := range summaryPrograms {
			if s.objects.Programs[name] == nil {
				continue
			}
			stats, err := s.objects.Programs[name].Stats()
			if err != nil {
				b.Fatal(err)
			}
			total += float64(stats.Runtime.Nanoseconds())
			each[name] = append(each[name], float64(stats.Runtime.Nanoseconds())/events)
		}
		perEvent = append(perEvent, total/events)
	}
	for b.Loop() {
		// The rounds above are the measurement.
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(perEvent), "kernel-ns/event")
	for name, all := range each {
		b.ReportMetric(median(all), name+"-ns/event")
	}
}

// BenchmarkForks measures what the programs add to the beginning and to the end of a
// process, as BenchmarkKernel does for transitions.
func BenchmarkForks(b *testing.B) {
	kerneltest.Require(b)
	measurePrograms(b)
	for _, row := range backends {
		for _, way := range transports {
			o := Options{Backend: Backend{row}, Transport: Transport{way}, Forks: true}
			if !row.knows.Forks {
				continue
			}
			b.Run(row.name+" "+way.name, func(b *testing.B) { benchmarkForks(b, o) })
			o.Follow = true
			b.Run(row.name+" "+way.name+", followed", func(b *testing.B) { benchmarkForks(b, o) })
		}
	}
}

func benchmarkForks(b *testing.B, o Options) {
	const rounds, processes = 5, 200
	each := map[string][]float64{}
	ns := kerneltest.NewNetns(b)
	for range rounds {
		c := trace(b, o)
		ns.Do(b, func() {
			l := kerneltest.Listen(b, "tcp4", "127.0.0.1:0")
			for range processes { // one after the other
				if _, err := kerneltest.ForkBriefly(1, l.Addr().String()); err != nil {
					b.Error(err)
				}
			}
			l.Close()
		})
		for _, name := range []string{"forked", "exited"} {
			if c.objects.Programs[name] == nil {
				continue
			}
			s, err := c.objects.Programs[name].Stats()
			if err != nil {
				b.Fatal(err)
			}
			each[name] = append(each[name], float64(s.Runtime.Nanoseconds())/float64(s.RunCount))
		}
		c.end(b)
	}
	for b.Loop() {
		// The rounds above are the measurement.
	}
	b.ReportMetric(0, "ns/op")
	for name, all := range each {
		b.ReportMetric(median(all), name+"-ns/run")
	}
}

func median(of []float64) float64 {
	slices.Sort(of)
	return of[len(of)/2]
}

// BenchmarkIO measures what the programs at a socket's input and output cost a
// ping-pong over the loopback: both ways in one run, in turn, as the ratio of
// the medians.
func BenchmarkIO(b *testing.B) {
	kerneltest.Require(b)
	ns := kerneltest.NewNetns(b)
	const rounds, pings = 21, 5_000
	var plain, traced []float64
	ns.Do(b, func() {
		l := kerneltest.Listen(b, "tcp4", "127.0.0.1:0")
		defer l.Close()
		client, server := kerneltest.Connect(b, l)
		defer client.Close()
		defer server.Close()
		c := trace(b, Options{})
		if err := c.detach(); err != nil {
			b.Fatal(err)
		}
		pingPong(client, server, pings)
		for range rounds {
			plain = append(plain, pingPong(client, server, pings))
			if err := c.attach(); err != nil {
				b.Fatal(err)
			}
			traced = append(traced, pingPong(client, server, pings))
			if err := c.detach(); err != nil {
				b.Fatal(err)
			}
		}
	})
	for b.Loop() {
		// The rounds above are the measurement.
	}
	slices.Sort(plain)
	slices.Sort(traced)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(plain[rounds/2], "plain-ns/ping")
	b.ReportMetric(traced[rounds/2], "traced-ns/ping")
	b.ReportMetric(traced[rounds/2]/plain[rounds/2], "ratio")
}

// pingPong sends a byte to and fro, and returns the nanoseconds each took.
func pingPong(client, server net.Conn, pings int) float64 {
	byteOf := make([]byte, 1)
	begin := time.Now()
	for range pings {
		client.Write(byteOf)
		server.Read(byteOf)
		server.Write(byteOf)
		client.Read(byteOf)
	}
	return float64(time.Since(begin).Nanoseconds()) / float64(pings)
}
