package feature

import (
	"errors"
	"runtime"
	"strings"
	"unicode"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Missing is why this machine, or this process on it, cannot trace.
type Missing struct {
	// What is a sentence for the person at the terminal: what is missing and
	// what mends it.
	What string
	// Err is the kernel's refusal.
	Err error
}

func (m *Missing) Error() string { return m.What }

// Unwrap gives the kernel's refusal.
func (m *Missing) Unwrap() error { return m.Err }

// Elsewhere is why nothing can be traced on this system, a *Missing; nil on Linux.
func Elsewhere() error {
	if runtime.GOOS == "linux" {
		return nil
	}
	return &Missing{What: "tcpstates traces on Linux alone: record there with tcpstates record, and look at it here with tcpstates replay"}
}

// Diagnose finds out why the kernel refused to load or attach the programs,
// err being its refusal.
func (l *List) Diagnose(err error) *Missing { return &Missing{What: l.diagnose(err), Err: err} }

func (l *List) diagnose(err error) string {
	if errors.Is(err, unix.ENOSYS) {
		return noSyscall.Sentence()
	}
	for id, row := range l.rows {
		if !row.Vital() {
			continue
		}
		if result := l.Ask(ID(id)); result.Answer == No {
			return result.Sentence()
		}
	}
	var missing *Missing
	if errors.As(err, &missing) {
		return missing.What
	}
	if log := verifierLog(err); log != nil {
		return "the kernel's verifier rejects a program, which should not be: " +
			"please report it with the output of tcpstates doctor --json; its last words are\n" + lastLines(log)
	}
	if isRefusal(err) {
		return l.policy(err).Sentence()
	}
	if errors.Is(err, unix.ENOMEM) {
		return "the kernel has no memory for the maps: raise the memory limit of the cgroup, or give a smaller --buffer"
	}
	if result := l.Ask(BTF); result.Answer == No {
		return result.Sentence()
	}
	return "the kernel refuses the programs: run with -v for its own words"
}

// verifierLog is what the verifier said of the program that it rejected; nil
// if it was not asked.
func verifierLog(err error) []string {
	var rejection *ebpf.VerifierError
	if !errors.As(err, &rejection) {
		return nil
	}
	return rejection.Log
}

// lastLines are the end of the verifier's log, where it says why.
func lastLines(log []string) string {
	const enough = 8
	var text strings.Builder
	for _, line := range log[max(0, len(log)-enough):] {
		text.WriteString("\n  " + strings.Map(printable, line))
	}
	return strings.TrimPrefix(text.String(), "\n")
}

// printable replaces what would act on a terminal.
func printable(r rune) rune {
	if unicode.IsPrint(r) || r == '\t' {
		return r
	}
	return '?'
}
