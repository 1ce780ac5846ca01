package report

import (
	"encoding/json"
	"fmt"
	"io"
)

// schema is the version of what the object means; it rises when a field changes its
// meaning or goes.
const schema = 1

// timeLayout is RFC 3339's with nanoseconds, as the events have it.
const timeLayout = "2006-01-02T15:04:05.000000000Z07:00"

// What is not known has no field.
type (
	jsonReport struct {
		Schema  int          `json:"schema"`
		Name    string       `json:"name"`
		Host    string       `json:"host,omitempty"`
		Began   string       `json:"began"`
		TookMS  float64      `json:"took_ms"`
		SetupMS float64      `json:"setup_ms,omitempty"`
		Outcome string       `json:"outcome"`
		Why     string       `json:"why,omitempty"`
		Command *jsonCommand `json:"command,omitempty"`
		Rules   []jsonRule   `json:"rules"`
		Conns   int          `json:"conns_judged"`
		Reasons []jsonCount  `json:"reasons"`
	}
	jsonCommand struct {
		Args   []string `json:"args"`
		Exit   *int     `json:"exit_code,omitempty"`
		Signal string   `json:"signal,omitempty"`
	}
	jsonRule struct {
		Name        string     `json:"name,omitempty"`
		Description string     `json:"description,omitempty"`
		Expression  string     `json:"expression"`
		Outcome     string     `json:"outcome"`
		Why         []string   `json:"why,omitempty"`
		Conns       []jsonConn `json:"conns,omitempty"`
		More        int        `json:"more_conns,omitempty"`
	}
	jsonConn struct {
		Sock     string   `json:"sock,omitempty"`
		PID      uint32   `json:"pid,omitempty"`
		Comm     string   `json:"comm,omitempty"`
		Local    string   `json:"local,omitempty"`
		Remote   string   `json:"remote,omitempty"`
		Role     string   `json:"role,omitempty"`
		Reason   string   `json:"reason,omitempty"`
		Timeline []string `json:"timeline,omitempty"`
	}
	jsonCount struct {
		Reason string `json:"reason"`
		Conns  int    `json:"count"`
	}
)

// JSON writes the report as one object: times in milliseconds, the beginning in
// UTC. An error is the writer's.
func JSON(w io.Writer, r *Report) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(newJSONReport(r)); err != nil {
		return fmt.Errorf("write the report as JSON: %w", err)
	}
	return nil
}

func newJSONReport(r *Report) jsonReport {
	j := jsonReport{
		Schema: schema, Name: lines(r.Name), Host: lines(r.Host), Began: r.Began.UTC().Format(timeLayout),
		TookMS: millis(r.Took), SetupMS: millis(r.Setup), Outcome: r.Outcome.String(), Why: lines(r.Why),
		Rules: []jsonRule{}, Conns: r.Conns, Reasons: []jsonCount{},
	}
	if c := r.Command; c != nil {
		j.Command = &jsonCommand{Args: all(c.Args), Signal: lines(c.Signal)}
		if c.Exit >= 0 {
			j.Command.Exit = &c.Exit
		}
	}
	for i := range r.Rules {
		j.Rules = append(j.Rules, newJSONRule(r, &r.Rules[i]))
	}
	for _, count := range r.Reasons {
		j.Reasons = append(j.Reasons, jsonCount{lines(count.Reason), count.Conns})
	}
	return j
}

func newJSONRule(r *Report, rule *Rule) jsonRule {
	j := jsonRule{
		Name: lines(rule.Name), Description: lines(rule.Description), Expression: lines(rule.Expression),
		Outcome: r.outcomeOf(rule).String(), Why: all(rule.Why), More: rule.More,
	}
	for _, c := range rule.Conns {
		j.Conns = append(j.Conns, jsonConn{
			Sock: lines(c.Sock), PID: c.PID, Comm: lines(c.Comm), Local: lines(c.Local), Remote: lines(c.Remote),
			Role: lines(c.Role), Reason: lines(c.Reason), Timeline: all(c.Timeline),
		})
	}
	return j
}

// all are texts that keep their line breaks.
func all(texts []string) []string {
	printed := make([]string, 0, len(texts))
	for _, text := range texts {
		printed = append(printed, lines(text))
	}
	return printed
}
