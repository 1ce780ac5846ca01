// Package report writes what a run has found for the systems that ask: what was
// expected of its connections, whether that held, and the connections that show it.
package report

import (
	"cmp"
	"fmt"
	"time"
)

// Outcome is how a run, or a rule of it, came out.
type Outcome uint8

// The outcomes.
const (
	// Inconclusive: it cannot be judged, as events were lost or the recording is
	// incomplete. What nobody has judged is inconclusive, too, and never a pass.
	Inconclusive Outcome = iota
	// Passed: it holds. Of a run: every rule does, and the command has succeeded.
	Passed
	// RuleFailed: the rule does not hold. Of a run: one of them does not.
	RuleFailed
	// CommandFailed: the command was ended by a signal, or exited with another code
	// than 0.
	CommandFailed
	// TimedOut: the command was still running when its time was over.
	TimedOut
)

var outcomeNames = [...]string{
	Inconclusive:  "inconclusive",
	Passed:        "passed",
	RuleFailed:    "rule failed",
	CommandFailed: "command failed",
	TimedOut:      "timed out",
}

// String is the outcome in words, which stay the same in all versions.
func (o Outcome) String() string { return outcomeNames[o] }

// Report is what a run has found. Its texts may hold any bytes; whoever fills it
// bounds how many there are. Nothing here changes it.
type Report struct {
	// Name says what was traced: "tcpstates exec -- ./smoke.sh". CI systems tell runs
	// of a job apart by it.
	Name string
	// Host is the machine's name; empty if it is not known.
	Host string
	// Began is when the run began, a recorded one when it was recorded. Took is how
	// long it was.
	Began time.Time
	Took  time.Duration
	// Setup is how long loading and attaching took, before the run; zero if nothing
	// was loaded.
	Setup time.Duration
	// Outcome is the run's. Where it is Inconclusive no rule has passed, whatever the
	// rule's own is.
	Outcome Outcome
	// Why is a sentence that says why the run did not come to its end, or cannot be
	// judged; empty for Passed and RuleFailed.
	Why string
	// Command is what was run; nil if nothing was.
	Command *Command
	Rules   []Rule
	// Conns is how many connections were judged.
	Conns int
	// Reasons count them by why they ended, in the order in which they are to be told.
	Reasons []Count
}

// Command is a command that was run.
type Command struct {
	Args []string
	// Exit is what it exited with, and -1 if it has not exited by itself
	// (os.ProcessState.ExitCode).
	Exit int
	// Signal is the name of what ended it, SIGTERM; empty if no signal did.
	Signal string
}

// Rule is what was expected.
type Rule struct {
	// Name is a short one, Description a sentence for people or empty, Expression what
	// was judged.
	Name, Description, Expression string
	// Outcome is Passed, RuleFailed or Inconclusive.
	Outcome Outcome
	// Why are lines that say in words and numbers why it has not passed, the one that
	// says most first.
	Why []string
	// Conns are connections that show it, More is how many others do.
	Conns []Conn
	More  int
}

// Conn is a connection. What is not known of it is empty.
type Conn struct {
	// Sock is the socket's cookie as elsewhere in the output.
	Sock string
	// PID is that of the process that owns it, Comm the name of it.
	PID  uint32
	Comm string
	// Local and Remote are its ends, an address with a port each.
	Local, Remote string
	// Role and Reason are the words of event.Role and event.Reason.
	Role, Reason string
	// Timeline are its transitions, a line each.
	Timeline []string
}

// Count is how many connections ended for a reason.
type Count struct {
	Reason string
	Conns  int
}

// outcomeOf is the rule's, in this run.
func (r *Report) outcomeOf(rule *Rule) Outcome {
	if r.Outcome == Inconclusive {
		return Inconclusive
	}
	return rule.Outcome
}

// finding is something that could have failed: the command, the run or a rule.
type finding struct {
	// name says what was to hold.
	name    string
	outcome Outcome
	// why is a sentence that says why it has not passed.
	why string
	// rule is the rule; nil if it is none.
	rule *Rule
}

// findings are the command's, if one was run, the run's, if that did not come to its
// end, and each rule's. Some are no pass wherever the run is none.
func (r *Report) findings() []finding {
	var all []finding
	if r.Command != nil {
		all = append(all, r.ofCommand())
	}
	if r.Outcome == Inconclusive || r.Outcome == TimedOut && r.Command == nil {
		all = append(all, finding{"the run can be judged", r.Outcome, cmp.Or(r.Why, "nothing says why it cannot"), nil})
	}
	for i := range r.Rules {
		all = append(all, r.ofRule(&r.Rules[i]))
	}
	return all
}

func (r *Report) ofCommand() finding {
	f := finding{name: "the command exits with 0"}
	switch {
	case r.Outcome == TimedOut:
		f.outcome, f.why = TimedOut, cmp.Or(r.Why, "the command was still running when its time was over")
	case r.Outcome == CommandFailed:
		f.outcome, f.why = CommandFailed, cmp.Or(r.Why, r.Command.end())
	case r.Command.Exit != 0:
		f.outcome, f.why = CommandFailed, r.Command.end()
	default:
		f.outcome = Passed
	}
	return f
}

// end is a sentence that says how the command ended.
func (c *Command) end() string {
	switch {
	case c.Signal != "":
		return "the command was ended by " + c.Signal
	case c.Exit < 0:
		return "the command did not exit"
	}
	return fmt.Sprintf("the command exited with %d", c.Exit)
}

func (r *Report) ofRule(rule *Rule) finding {
	f := finding{name: cmp.Or(rule.Name, rule.Expression), outcome: r.outcomeOf(rule), rule: rule}
	if f.outcome == Passed {
		return f
	}
	f.why = "it does not hold"
	if f.outcome == Inconclusive {
		f.why = cmp.Or(r.Why, "it was not judged")
	}
	// What a rule found in a run that cannot be judged does not explain that.
	if len(rule.Why) > 0 && r.Outcome != Inconclusive {
		f.why = rule.Why[0]
	}
	return f
}
