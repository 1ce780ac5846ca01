package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tcpstates/internal/feature"
)

// diagnosis is what the doctor found, as --json writes it.
type diagnosis struct {
	Version      string   `json:"version"`
	Kernel       string   `json:"kernel"`
	Arch         string   `json:"arch"`
	Distribution string   `json:"distribution,omitempty"`
	Checks       []check  `json:"checks"`
	Backend      string   `json:"backend,omitempty"`
	SelfTest     selfTest `json:"self_test"`
	// Works says whether tracing does; Verdict says with what, or what is
	// missing.
	Works   bool   `json:"works"`
	Verdict string `json:"verdict"`
}

// check is a feature as the doctor found it.
type check struct {
	Name   string `json:"name"`
	Answer answer `json:"answer"`
	// For is what it serves.
	For string `json:"for"`
	// Reason is what was seen, or why something is not there.
	Reason string `json:"reason,omitempty"`
	// Without is what is lost for that.
	Without string `json:"without,omitempty"`
	Remedy  string `json:"remedy,omitempty"`
	// Error is what the kernel said.
	Error string `json:"error,omitempty"`
}

// answer is the word for how a check went.
type answer string

const (
	answerOK      answer = "ok"
	answerLess    answer = "less" // it works, with less
	answerNo      answer = "no"
	answerUnknown answer = "unknown"
)

// newDoctor makes the command that says what works here, and what does not.
func (a *app) newDoctor() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor [flags]",
		Short: "Say whether tracing works here, what is missing, and what mends it",
		Long: `tcpstates doctor tries one by one what tracing may need of the kernel and of this
process's privileges, and then traces a connection of its own over the loopback.
Each line begins with "ok", with "less" (tracing works, and tells less), with
"no" (nothing can be traced for that), or with "unknown" (it cannot be told for
want of privilege). Nothing stays behind, and other connections are not touched.

It exits with 0 if tracing works, and with 3 if it does not.`,
		Example: `  tcpstates doctor                what works here
  tcpstates doctor --json         the same for a bug report`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.doctor(cmd.Context(), asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write one JSON object, for programs and for bug reports")
	cmd.SetUsageTemplate(usageTemplate)
	return cmd
}

// doctor tells how things stand, and returns an error if tracing does not work.
func (a *app) doctor(ctx context.Context, asJSON bool) error {
	if err := feature.Elsewhere(); err != nil {
		return err
	}
	r := diagnosis{
		Version:      version,
		Kernel:       feature.KernelRelease(),
		Arch:         runtime.GOARCH,
		Distribution: distribution(),
	}
	r.Checks = a.checks()
	var err error
	r.SelfTest, r.Backend, err = a.tryTracing(ctx)
	r.conclude(err)
	if writeErr := a.writeReport(&r, asJSON); writeErr != nil {
		return fmt.Errorf("write the report: %w", writeErr)
	}
	if err != nil {
		return toldError{err}
	}
	return nil
}

// toldError is an error that the user has been told of.
type toldError struct{ error }

// Unwrap gives the error itself.
func (e toldError) Unwrap() error { return e.error }

// checks asks for all features.
func (a *app) checks() []check {
	var checks []check
	for id, row := range feature.Rows() {
		checks = append(checks, a.checkOf(row, a.ask(feature.ID(id))))
	}
	return checks
}

func (a *app) checkOf(row feature.Row, result feature.Result) check {
	c := check{Name: row.Name, For: row.For, Reason: result.Reason, Remedy: result.Remedy}
	if result.Err != nil {
		c.Error = result.Err.Error()
	}
	switch {
	case result.Answer == feature.Yes:
		c.Answer = answerOK
	case result.Answer == feature.Unknown:
		c.Answer = answerUnknown
	case row.Vital():
		c.Answer = answerNo
	case a.hasAny(row.Unless):
		c.Answer, c.Reason, c.Remedy = answerOK, "not needed here: "+c.Reason, ""
	default:
		c.Answer, c.Without = answerLess, row.Without
	}
	return c
}

func (a *app) hasAny(ids []feature.ID) bool {
	for _, id := range ids {
		if a.ask(id).Answer == feature.Yes {
			return true
		}
	}
	return false
}

// conclude words the end of the report. What was held to keep everything from
// working is less than that where tracing works nevertheless.
func (r *diagnosis) conclude(err error) {
	if err != nil {
		r.Verdict = err.Error()
		return
	}
	r.Works, r.Verdict = true, "tracing works here, with "+r.Backend
	for i := range r.Checks {
		if r.Checks[i].Answer == answerNo {
			r.Checks[i].Answer = answerLess
		}
	}
}

func (a *app) writeReport(r *diagnosis, asJSON bool) error {
	if asJSON {
		encoder := json.NewEncoder(a.stdout)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		return encoder.Encode(r)
	}
	width := widthOf(a.stdout)()
	if width == 0 {
		width = 80
	}
	layout := reportLayout{width: width, color: wantsColor(a.stdout, a.getenv)}
	_, err := a.stdout.Write(layout.text(r))
	return err
}

// distribution is what the distribution calls itself (os-release(5)); empty if
// it does not.
func distribution() string {
	release, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(release)) {
		if name, found := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); found {
			if plain, err := strconv.Unquote(name); err == nil {
				return plain
			}
			return name
		}
	}
	return ""
}
