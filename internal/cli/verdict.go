package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"tcpstates/internal/event"
	"tcpstates/internal/expect"
	"tcpstates/internal/report"
)

// maxJudged is how many connections rules are judged by: of more nobody knows. They take
// some 100 MiB.
const maxJudged = 100_000

// verdict is what a run has found of what was expected of it.
type verdict struct {
	*app
	report   report.Report
	verdicts []expect.Verdict
	err      error // has the exit code; nil: all is as expected
}

// judged are what a run is judged by, when it has come to its end.
type judged struct {
	flags *viewFlags
	judge *expect.Judge // nil: nothing is expected
	child *child        // nil: no command was run
	began time.Time
	took  time.Duration
	// missing says in words what nobody knows of the run; empty if all is known.
	missing string
}

// judge judges the run; nil if nothing was asked.
func (a *app) judge(j judged) *verdict {
	if j.judge == nil && j.child == nil {
		return nil
	}
	v := a.newVerdict(j.began)
	v.report.Took, v.report.Outcome = j.took, report.Passed
	if j.judge != nil {
		v.verdicts = j.judge.Verdicts(j.flags.inForce())
		v.addRules(j)
	}
	v.conclude(j)
	return v
}

// newVerdict is one of a run of which nothing is known yet.
func (a *app) newVerdict(began time.Time) *verdict {
	v := &verdict{app: a, report: report.Report{Name: a.commandLine(), Began: began, Outcome: report.Inconclusive}}
	v.report.Host, _ = os.Hostname() // it is not known
	return v
}

// commandLine is what the user has called.
func (a *app) commandLine() string {
	const most = 200
	words := append([]string{"tcpstates"}, a.args...)
	text := strings.Join(words, " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}

// conclude says how the run as a whole came out.
func (v *verdict) conclude(j judged) {
	failed := 0
	for i := range v.verdicts {
		if !v.verdicts[i].Held {
			failed++
		}
	}
	// The command's own failure says most: what its connections did may follow from it.
	switch outcome, err := j.child.outcome(); {
	case err != nil:
		v.report.Outcome, v.err = outcome, err
	case j.missing != "" && len(v.verdicts) > 0:
		v.report.Outcome, v.report.Why = report.Inconclusive, j.missing
		v.err = coded{exitInconclusive, fmt.Errorf("inconclusive: the rules cannot be judged, as %s", j.missing)}
	case failed > 0:
		v.report.Outcome = report.RuleFailed
		v.err = coded{exitRuleFailed, fmt.Errorf("%d of %d rules failed", failed, len(v.verdicts))}
	}
	if j.child != nil {
		v.report.Command, v.report.Setup = j.child.describe(), j.child.setup
	}
	if v.report.Outcome == report.TimedOut || v.report.Outcome == report.CommandFailed {
		v.report.Why = v.err.Error()
		if j.missing != "" && len(v.verdicts) > 0 {
			v.report.Why += "; and the rules cannot be judged, as " + j.missing
			v.err = errors.Join(v.err, fmt.Errorf("the rules cannot be judged, as %s", j.missing))
		}
	}
}

// addRules fills in what became of each rule.
func (v *verdict) addRules(j judged) {
	for i := range v.verdicts {
		verdict := &v.verdicts[i]
		rule := report.Rule{
			Name: verdict.Rule.Name, Description: verdict.Rule.Description, Expression: verdict.Rule.Expression,
			Outcome: report.Passed, Why: verdict.Why, More: verdict.More,
		}
		switch {
		case j.missing != "":
			rule.Outcome = report.Inconclusive
		case !verdict.Held:
			rule.Outcome = report.RuleFailed
		}
		for _, c := range verdict.Conns {
			rule.Conns = append(rule.Conns, reported(c))
		}
		v.report.Rules = append(v.report.Rules, rule)
	}
	counts := j.judge.Conns()
	v.report.Conns = counts.Judged
	for reason, n := range counts.Reasons {
		if n > 0 && event.Reason(reason) != event.ReasonNone {
			v.report.Reasons = append(v.report.Reasons, report.Count{Reason: event.Reason(reason).String(), Conns: n})
		}
	}
}

// reported is a connection as reports have it.
func reported(c *expect.Conn) report.Conn {
	e := c.Event()
	shown := report.Conn{
		PID: e.Owner.PID, Comm: string(e.Owner.Comm.AppendText(nil)),
		Local: e.Local.String(), Remote: e.Remote.String(), Role: e.Role.String(), Reason: e.End.Reason.String(),
	}
	if e.Cookie != 0 {
		shown.Sock = fmt.Sprintf("%x", e.Cookie)
	}
	for line := range strings.Lines(string(c.AppendTimeline(nil))) {
		shown.Timeline = append(shown.Timeline, strings.TrimSpace(line))
	}
	return shown
}

// tell tells the user what became of the rules.
func (v *verdict) tell() {
	var text []byte
	for i := range v.verdicts {
		text = appendVerdict(text, &v.verdicts[i], v.report.Rules[i].Outcome)
	}
	_, _ = v.stderr.Write(text) // nobody is left to tell
	if v.getenv("GITHUB_ACTIONS") == "true" {
		_ = report.GitHub(v.stderr, &v.report)
	}
}

// appendVerdict appends a line for a rule, and below it why it has failed.
func appendVerdict(dst []byte, verdict *expect.Verdict, outcome report.Outcome) []byte {
	word := "ok"
	switch outcome {
	case report.Inconclusive:
		word = "UNKNOWN"
	case report.RuleFailed:
		word = "FAILED"
	}
	dst = fmt.Appendf(dst, "%-7s %s", word, verdict.Rule.Name)
	if verdict.Rule.Name != verdict.Rule.Expression {
		dst = fmt.Appendf(dst, ": %s", verdict.Rule.Expression)
	}
	dst = append(dst, '\n')
	if verdict.Held {
		return dst
	}
	for _, why := range verdict.Why {
		dst = fmt.Appendf(dst, "        %s\n", why)
	}
	for _, c := range verdict.Conns {
		for line := range strings.Lines(string(c.AppendText(nil))) {
			dst = append(append(dst, "          "...), line...)
		}
	}
	if verdict.More > 0 {
		dst = fmt.Appendf(dst, "        and %d more\n", verdict.More)
	}
	return dst
}

// answer tells the user, and writes to the files that ask, what was found. It is the
// error that has the exit code; nil if all is as expected.
func (v *verdict) answer(f *expectFlags, to answers) error {
	if v == nil {
		return nil
	}
	v.tell()
	return errors.Join(v.err, v.writeAll(f, to))
}

// answerUnjudged writes to the files that ask that there was no run, and why: an older
// answer in them would be taken for this one's.
func (a *app) answerUnjudged(f *expectFlags, why error) error {
	to, err := a.openAnswers(f)
	if err != nil {
		return nil // as the run's own error says
	}
	v := a.newVerdict(time.Unix(0, a.clock.Now()))
	v.report.Why = why.Error()
	return v.writeAll(f, to)
}

// writeAll writes the answer to the files that ask.
func (v *verdict) writeAll(f *expectFlags, to answers) error {
	return errors.Join(
		v.write("--junit", f.junit, to.junit, report.JUnit),
		v.write("--json", f.json, to.json, report.JSON),
	)
}

func (v *verdict) write(flag, path string, file *os.File, write func(io.Writer, *report.Report) error) error {
	var err error
	switch {
	case file != nil:
		err = errors.Join(write(file, &v.report), file.Close())
	case path == "-":
		err = write(v.answers, &v.report)
	}
	if err != nil {
		return fmt.Errorf("write the answer with %s: %w", flag, err)
	}
	return nil
}

// unknown says in words what of a run that has ended so nobody knows; empty if all is
// known.
func (w *way) unknown(stop event.Stop, more ...string) string {
	words := more
	if lost := lostWords(stop); lost != "" {
		words = append(words, lost)
	}
	if w.judge != nil && w.judge.Overflow() > 0 {
		words = append(words, fmt.Sprintf("%d connections were too many to judge, and %d are judged at most: choose by filters", w.judge.Overflow(), maxJudged))
	}
	if w.filter != nil && w.filter.Hasty()+w.filter.Forgotten() > 0 {
		words = append(words, fmt.Sprintf("%d connections were chosen, or not, before all was known of them", w.filter.Hasty()+w.filter.Forgotten()))
	}
	return strings.Join(words, ", and ")
}
