package probe

import (
	"testing"
	"time"
)

// offering is a rate of events of connections that begin and end at once.
type offering struct {
	perSecond int
	lasts     time.Duration
}

// play has a limiter see what is offered, ten times a second, and gives its bits at
// the end of each, and the most that was shown in a second.
func play(most uint64, offered ...offering) (bits []uint32, peak uint64) {
	l := limiter{most: most}
	var now reading
	var lastSecond [10]uint64
	for i, tick := 0, 0; i < len(offered); i++ {
		for range offered[i].lasts / (time.Second / 10) {
			now.at += time.Second / 10
			n := uint64(offered[i].perSecond / 10)
			now.all += n
			now.shown += n >> l.bits
			lastSecond[tick%10] = n >> l.bits
			tick++
			sum := uint64(0)
			for _, shown := range lastSecond {
				sum += shown
			}
			peak = max(peak, sum)
			l.observe(now)
		}
		bits = append(bits, l.bits)
	}
	return bits, peak
}

func TestLimiter(t *testing.T) {
	const second = time.Second
	for _, test := range []struct {
		name    string
		most    uint64
		offered []offering
		bits    []uint32
		peak    uint64
	}{
		{"nothing", 100, []offering{{0, 100 * second}}, []uint32{0}, 0},
		{"as much as is wanted", 20_000, []offering{{20_000, 20 * second}}, []uint32{0}, 20_000},
		{"a little more", 20_000, []offering{{21_000, 20 * second}}, []uint32{1}, 30_000},
		{"a storm out of the blue", 20_000, []offering{{0, 5 * second}, {300_000, second / 5}, {300_000, 30 * second}},
			[]uint32{0, 4, 4}, 60_000},
		{"a storm out of a breeze", 20_000, []offering{{10_000, 5 * second}, {300_000, second / 5}, {300_000, 30 * second}},
			[]uint32{0, 4, 4}, 60_000},
		{"a storm that grows", 20_000, []offering{{30_000, 2 * second}, {60_000, 2 * second}, {120_000, 2 * second}},
			[]uint32{1, 2, 3}, 40_000},
		{"a storm that ends", 20_000, []offering{{300_000, second}, {0, 4 * second}, {0, 2 * second}, {0, 5 * second}, {0, 20 * second}},
			[]uint32{4, 4, 3, 2, 0}, 75_000},
		// Twice as much as 1/8 of 60,000 would be more than 4/5 of 16,000.
		{"a storm that abates a little", 16_000, []offering{{120_000, 2 * second}, {60_000, 60 * second}}, []uint32{3, 3}, 46_500},
		{"a storm that abates", 16_000, []offering{{120_000, 2 * second}, {40_000, 60 * second}}, []uint32{3, 2}, 46_500},
		{"a few at a time", 10, []offering{{10, 20 * second}}, []uint32{0}, 10},
		{"more than can be told", 1, []offering{{100_000_000, 5 * second}}, []uint32{maxBits}, 1 << 30},
	} {
		bits, peak := play(test.most, test.offered...)
		for i := range bits {
			if bits[i] != test.bits[i] {
				t.Errorf("%s: the bits are %v, want %v", test.name, bits, test.bits)
				break
			}
		}
		if peak > test.peak {
			t.Errorf("%s: %d events are shown in a second, want %d at most", test.name, peak, test.peak)
		}
	}
}

// TestLimiterOfWhatIsShownAlready has connections end that are shown, whatever the
// sample is: it goes down slowly.
func TestLimiterOfWhatIsShownAlready(t *testing.T) {
	l := limiter{most: 1000}
	var now reading
	for range 31 {
		now.at += time.Second / 10
		now.all += 1000
		now.shown += 1000
		l.observe(now)
	}
	if l.bits < 4 || l.bits > 7 { // 10,000 a second want 4, and there is one more each second
		t.Errorf("after 3 s the bits are %d", l.bits)
	}
}

// TestLimiterAfterAStandstill looks for the first time after a minute.
func TestLimiterAfterAStandstill(t *testing.T) {
	l := limiter{most: 1000}
	l.observe(reading{at: time.Second})
	if l.observe(reading{at: time.Minute, shown: 59_000, all: 59_000}); l.bits != 0 {
		t.Errorf("the bits are %d, of 1,000 events a second", l.bits)
	}
	if l.observe(reading{at: 2 * time.Minute, shown: 59_000 + 120_000, all: 59_000 + 120_000}); l.bits != 1 {
		t.Errorf("the bits are %d, of 2,000 events a second", l.bits)
	}
}
