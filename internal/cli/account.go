package cli

import (
	"fmt"
	"strings"

	"tcpstates/internal/event"
)

// tell accounts for a trace that has ended.
func (r *run) tell(show show, stop event.Stop) {
	r.way.summarize()
	fmt.Fprintln(r.stderr, "tcpstates: "+account(show.what, stop))
	tellHasty(r.app, r.way.filter)
	r.recorder.tell()
	r.flood.tell()
	if err := r.minisockErr(); err != nil {
		fmt.Fprintln(r.stderr, "tcpstates: some TIME_WAIT were not followed to their end; run with -v for why")
		r.flags.notef(r.app, "%v", err)
	}
}

// header says what the trace uses, and what it therefore cannot tell.
func header(source tracer) string {
	text := "tracing with " + source.Backend()
	if less := source.Knows().Less; less != "" {
		text += " (" + less + "; see tcpstates doctor)"
	}
	return text
}

// account tells in a sentence how much of what happened was shown.
func account(what string, stop event.Stop) string {
	text := fmt.Sprintf("%d %s, %d events lost in the buffer, ", stop.Shown, what, stop.Lost) + missedAndGaps(stop)
	if stop.Unsampled > 0 {
		text += fmt.Sprintf("; %d connections with %d events not in the sample, see --max-events-per-second", stop.UnsampledConns, stop.Unsampled)
	}
	if stop.Unwritten > 0 {
		text += fmt.Sprintf("; %d events not written", stop.Unwritten)
	}
	if stop.Evicted > 0 {
		text += fmt.Sprintf("; %d connections forgotten, see --max-conns", stop.Evicted)
	}
	if stop.Unfollowed > 0 {
		text += fmt.Sprintf("; %d TIME_WAIT not followed to their end, see --max-conns", stop.Unfollowed)
	}
	return text
}

// lostWords tells in words what was lost, of a trace that has lost something.
func lostWords(stop event.Stop) string {
	var words []string
	for _, part := range []struct {
		n    uint64
		what string
	}{
		{stop.Lost, "events were lost in the buffer, see --buffer"},
		{stop.Missed, "events were missed by recursion"},
		{stop.Gaps, "times a socket's transitions had a gap"},
		{stop.Unsampled, "events are not in the sample, see --max-events-per-second"},
		{stop.Evicted, "connections were forgotten, see --max-conns"},
	} {
		if part.n > 0 {
			words = append(words, fmt.Sprintf("%d %s", part.n, part.what))
		}
	}
	return strings.Join(words, ", and ")
}

// missedAndGaps tells what the programs have not seen.
func missedAndGaps(stop event.Stop) string {
	text := fmt.Sprintf("%d missed by recursion", stop.Missed)
	if stop.MissedUnknown {
		text = "and nobody knows how many missed by recursion"
	}
	if stop.Gaps > 0 {
		text += fmt.Sprintf("; %d times a socket's transitions had a gap: "+
			"this kernel did not run the programs for all of them", stop.Gaps)
	}
	return text
}
