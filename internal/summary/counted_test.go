package summary

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"tcpstates/internal/event"
	"tcpstates/internal/golden"
)

// bucketOf is where a duration belongs.
func bucketOf(d time.Duration) int {
	return min(bits.Len64(uint64(d/firstBound)), len(Buckets{})-1)
}

// countedScene has the connections of scene that the kernel can count, as far as it
// can.
func countedScene() *Counted {
	c := NewCounted()
	put := func(b *Buckets, d time.Duration) {
		if d > 0 {
			b[bucketOf(d)]++
		}
	}
	for _, e := range scene() {
		if e.Kind != event.KindConn {
			continue
		}
		c.Add(&e, 1)
		put(&c.Connect, e.Handshake.Connect)
		put(&c.RTT, e.Handshake.RTT)
		for state, d := range e.Times[:len(c.InState)] {
			put(&c.InState[state], d)
		}
	}
	orphan := event.Event{Kind: event.KindTransition, OldState: event.FinWait2, NewState: event.FinWait2}
	c.Add(&orphan, 12)
	c.AddOther(2)
	c.InState[event.CloseWait][len(Buckets{})-1] = 1
	c.Transitions[event.Close][event.SynSent] = 41
	c.Transitions[event.SynSent][event.Established] = 41
	c.Transitions[event.Listen][event.SynRecv] = 1_234_567_890
	c.Transitions[event.FinWait2][event.Close] = 3
	return c
}

func TestCountedGoldens(t *testing.T) {
	for _, width := range []int{100, 60} {
		t.Run(fmt.Sprint(width), func(t *testing.T) {
			got := string(countedScene().AppendText(nil, width))
			golden.Check(t, filepath.Join("testdata", fmt.Sprintf("counted-%d.txt", width)), got)
		})
	}
}

func TestNothingCounted(t *testing.T) {
	if diff := cmp.Diff("summary: no connection ended\n", string(NewCounted().AppendText(nil, 0))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestCountedLinesFit(t *testing.T) {
	c := countedScene()
	for i := range c.InState[event.Established] { // numbers with many digits, and each bound
		c.InState[event.Established] = Buckets{}
		c.InState[event.Established][i] = 98_765
		for width := 60; width <= 120; width++ {
			for line := range strings.Lines(string(c.AppendText(nil, width))) {
				line = strings.TrimSuffix(line, "\n")
				if chars := utf8.RuneCountInString(line); chars > width {
					t.Errorf("a line of %d characters on %d: %s", chars, width, line)
				}
				if line != strings.TrimRight(line, " ") {
					t.Errorf("a line ends with blanks: %q", line)
				}
				if strings.Contains(line, "s<=") || strings.Contains(line, "h<=") {
					t.Errorf("no blank between two times: %s", line)
				}
			}
		}
	}
}

// TestBucketPercentiles compares with what sorting finds, and with the distribution of
// a Summary: a bucket tells no more than the power of two, and no less.
func TestBucketPercentiles(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		var b Buckets
		var x times
		all := make([]time.Duration, 1+random.IntN(2000))
		for i := range all {
			all[i] = time.Duration(1) << random.IntN(52) * time.Duration(1+random.IntN(2))
			b[bucketOf(all[i])]++
			x.add(all[i])
		}
		slices.Sort(all)
		for _, p := range []float64{50, 90, 99, 100} {
			rank := max(int(p/100*float64(len(all))+0.5), 1)
			if want, got := bucketOf(all[rank-1]), b.Percentile(p); got != want {
				t.Errorf("of %d durations, %v%% do not exceed %v: in bucket %d, not %d", len(all), p, all[rank-1], want, got)
			}
			if exact := bucketOf(x.percentile(p)); exact < b.Percentile(p)-1 || exact > b.Percentile(p)+1 {
				t.Errorf("the %v%% of %d durations are in bucket %d, and %v by all of them", p, len(all), b.Percentile(p), x.percentile(p))
			}
		}
		if int(b.count()) != len(all) {
			t.Errorf("%d counted of %d", b.count(), len(all))
		}
	}
}

func TestAppendBound(t *testing.T) {
	for bucket, want := range map[int]string{0: "<=1.02µs", 7: "<=131µs", 8: "<=262µs", 13: "<=8.38ms", 20: "<=1.07s", 46: "<=20015h", 47: ">=20015h"} {
		if got := string(appendBound(nil, bucket)); got != want {
			t.Errorf("bucket %d is %s, want %s", bucket, got, want)
		}
	}
}
