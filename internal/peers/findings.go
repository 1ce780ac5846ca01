package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"tcpstates/internal/traffic"
	"tcpstates/internal/truth"
)

// findings are what a soak has measured.
type findings struct {
	matched *matcher
	did     loaded
	count   truth.Count
	lost    int       // as the tracer says
	memory  []float64 // bytes, resident, every so often since the warm-up
	files   []int     // open at the same moments

	bounds   atomic.Int64 // how many have come from the load
	seen     atomic.Int64 // transitions of connections
	finWait2 atomic.Int64 // sockets that are shown to be in FIN_WAIT2
}

// line takes a line of the tracer's.
func (f *findings) line(raw []byte, ipv6 bool) {
	l, ok := parseCSV(raw)
	if !ok || !l.happened(ipv6) {
		return
	}
	f.seen.Add(1)
	if string(l.newState) == "FIN_WAIT2" {
		f.finWait2.Add(1)
	}
	if string(l.oldState) == "FIN_WAIT2" {
		f.finWait2.Add(-1)
	}
	if e, lasted, ok := l.established(time.Millisecond); ok && string(l.role) == "client" {
		f.matched.tell(e, lasted)
	}
}

func (f *findings) bound(b traffic.Bounds) {
	f.matched.happened(b)
	f.bounds.Add(1)
}

const sampleEvery = time.Second

// watch samples the tracer until the load is done.
func (f *findings) watch(r *running, warmUp time.Duration, done <-chan error) error {
	warm := time.Now().Add(warmUp)
	for {
		select {
		case err := <-done:
			return err
		default:
		}
		if err := r.pause(sampleEvery); err != nil {
			return err
		}
		if time.Now().Before(warm) {
			continue
		}
		memory, err := r.memory("VmRSS")
		if err != nil {
			return err
		}
		files, err := os.ReadDir("/proc/" + strconv.Itoa(r.cmd.Process.Pid) + "/fd")
		if err != nil {
			return err
		}
		f.memory, f.files = append(f.memory, memory), append(f.files, len(files))
	}
}

// settleLimit is how long the last lines may take: tcpstates asks the kernel
// what became of an orphan in FIN_WAIT2 every 15 s when there are many.
const settleLimit = 40 * time.Second

// awaitBounds waits for what the load has written until its end.
func (f *findings) awaitBounds(failed <-chan error) error {
	for limit := time.Now().Add(settleLimit); f.bounds.Load() < int64(f.did.Connections); {
		select {
		case err := <-failed:
			return fmt.Errorf("the load's times have ended early: %w", err)
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(limit) {
			return errors.New("the load's times do not come")
		}
	}
	return nil
}

// settle waits until the tracer has shown all that has happened, or does not.
func (f *findings) settle(s *session) (err error) {
	if f.count, err = s.truth.Now(); err != nil {
		return err
	}
	for limit := time.Now().Add(settleLimit); time.Now().Before(limit); {
		if f.seen.Load() >= int64(f.count.OfConnections()) && f.matched.untold() == 0 {
			break
		}
		if err := s.tracer.pause(sampleEvery); err != nil {
			return err
		}
	}
	return nil
}

// text is what was measured, for a person.
func (f *findings) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s connections; %s transitions happened, %s were shown, %s lost\n", grouped(float64(f.did.Connections)),
		grouped(float64(f.count.OfConnections())), grouped(float64(f.seen.Load())), grouped(float64(f.lost)))
	fmt.Fprintf(&b, "time in ESTABLISHED: %s right, %s wrong, %s not told\n", grouped(float64(f.matched.right)),
		grouped(float64(f.matched.wrong)), grouped(float64(f.matched.untold())))
	early, late := halves(f.memory)
	fmt.Fprintf(&b, "memory: %s MiB, and %s MiB in the second half\n", mebibytes(median(early)), mebibytes(median(late)))
	earlyFiles, lateFiles := halves(f.files)
	fmt.Fprintf(&b, "open files: %d to %d, and %d to %d in the second half\n", slices.Min(earlyFiles), slices.Max(earlyFiles),
		slices.Min(lateFiles), slices.Max(lateFiles))
	return b.String()
}

func halves[T any](all []T) (early, late []T) { return all[:len(all)/2], all[len(all)/2:] }

// mayGrow is what memory of the first half may become: the garbage collector has
// it go up and down.
func mayGrow(bytes float64) float64 { return 1.1*bytes + 8<<20 }

// verdict says what is broken, a sentence each.
func (f *findings) verdict() error {
	var broken []error
	say := func(format string, args ...any) { broken = append(broken, fmt.Errorf(format, args...)) }
	seen, happened := uint64(f.seen.Load()), f.count.OfConnections()
	// What the count has missed may have been of others.
	if seen > happened || seen < happened-f.count.Missed {
		say("%d transitions were shown, where %d happened; %d sockets were left in FIN_WAIT2", seen, happened, f.finWait2.Load())
	}
	if f.lost > 0 {
		say("%d events were lost", f.lost)
	}
	if f.matched.wrong > 0 {
		say("%d times in ESTABLISHED are wrong: %s", f.matched.wrong, strings.Join(f.matched.examples, "; "))
	}
	if n := f.matched.untold(); n > 0 {
		say("the time in ESTABLISHED of %d clients was not told", n)
	}
	if n := f.matched.unknown(); n > 0 {
		say("the time in ESTABLISHED of %d clients was told that the load knows nothing of", n)
	}
	if early, late := halves(f.memory); median(late) > mayGrow(median(early)) {
		say("memory grew from %s to %s MiB", mebibytes(median(early)), mebibytes(median(late)))
	}
	if early, late := halves(f.files); slices.Min(late) > slices.Max(early) {
		say("open files grew from %d to %d", slices.Max(early), slices.Min(late))
	}
	return errors.Join(broken...)
}
