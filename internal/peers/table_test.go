package main

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"tcpstates/internal/golden"
)

func TestQuantiles(t *testing.T) {
	values := []float64{4, 1, 3, 2}
	if got := median(values); got != 2.5 {
		t.Errorf("the median is %v", got)
	}
	for share, want := range map[float64]float64{0: 1, 1: 4, 0.99: 3.97} {
		if got := quantile(values, share); math.Abs(got-want) > 1e-9 {
			t.Errorf("at %v is %v, want %v", share, got, want)
		}
	}
	if !math.IsNaN(median(nil)) || values[0] != 4 {
		t.Error("the median of nothing is something, or the values have changed their order")
	}
}

func TestNumbers(t *testing.T) {
	for got, want := range map[string]string{
		grouped(0): "0", grouped(999.6): "1,000", grouped(1234567): "1,234,567", grouped(-1234): "-1,234",
		share(1): "100.00 %", share(0.999999): "99.99 %", share(0): "0.00 %", percent(1.456): "146 %",
		ratio(0.333): "0.33x", mebibytes(3 << 20): "3",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestTable has the medians of three rounds, with what was not measured.
func TestTable(t *testing.T) {
	b := &benchmark{config: &config{open: []int{1000, 500_000}, held: 100_000, rounds: 3, duration: time.Second, release: "6.18"}}
	b.sections = allSections(b.config)
	b.notes = []string{"bpfcc-tools was left out: it is not here."}
	for i := range tracers {
		if tracers[i].name != "bpfcc-tools" {
			b.tracers = append(b.tracers, &tracers[i])
		}
	}
	rounds := func(middle sample) []sample {
		high, low := sample{}, sample{}
		for key, v := range middle {
			high[key], low[key] = 10*v, v/10
		}
		return []sample{high, low, middle}
	}
	b.results = map[string]results{
		"storm": {
			"no tracer":       rounds(sample{keyRate: 600_000}),
			tracersOwn:        rounds(sample{keyRate: 480_000, keySlower: 0.25, keyKernel: 400, keyCPU: 0.5, keySeen: 1, keyLost: 0, keyPeak: 50 << 20}),
			"tcpstates conns": rounds(sample{keyRate: 500_000, keySlower: 0.2, keyKernel: 400}),
			baseline:          rounds(sample{keyRate: 240_000, keySlower: 1.5, keyKernel: 1600, keyCPU: 2, keySeen: 0.9, keyLost: 0.1, keyPeak: 13 << 20}),
		},
		"20k":     {"no tracer": rounds(sample{keyRate: 20_000}), baseline: rounds(sample{keyRate: 20_000, keySlower: -0.0001, keyKernel: 1700})},
		"latency": {tracersOwn: rounds(sample{keyMedian: 9, keyP99: 12, keyFirst: 100}), baseline: rounds(sample{keyMedian: 18})},
		"open":    {tracersOwn: rounds(sample{keyOf(keyKernel, 1000): 400, keyOf(keyCPU, 500_000): 0.5})},
		"durations": {
			tracersOwn: rounds(sample{keySeen: 1, keyRight: 1}),
			baseline:   rounds(sample{keySeen: 1, keyRight: 0.05}),
		},
	}
	var text strings.Builder
	for line := range strings.Lines(b.text(time.Minute)) {
		if !strings.HasPrefix(line, "Medians of ") { // tells of this machine
			text.WriteString(line)
		}
	}
	golden.Check(t, "testdata/table", text.String())
}

func TestFlags(t *testing.T) {
	b, err := newBenchmark([]string{"-sections", "20k,open", "-open", "5", "-tracers", "tcpstates -o", "-tcpstates", "/nowhere"})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, tr := range b.tracers {
		names = append(names, tr.name)
	}
	if want := []string{"no tracer", "tcpstates -o libbpf", "tcpstates -o json"}; !slices.Equal(names, want) {
		t.Errorf("%q take part, want %q", names, want)
	}
	if len(b.sections) != 2 || b.sections[0].name != "20k" || len(b.sections[1].columns) != 2 {
		t.Errorf("the sections are %v", b.sections)
	}
	for _, args := range [][]string{{"-sections", "slow"}, {"-open", "0"}, {"-open", "x"}, {"-rounds", "0"}, {"more"}} {
		if _, err := newBenchmark(args); err == nil {
			t.Errorf("%q passes", args)
		}
	}
	for _, args := range [][]string{{"-open", "0"}, {"-duration", "20s"}, {"-each-second", "0"}, {"-life", "-1s"}, {"more"}} {
		if _, err := newSoak(args); err == nil {
			t.Errorf("%q passes", args)
		}
	}
}
