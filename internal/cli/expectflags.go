package cli

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"tcpstates/internal/expect"
)

// ruleFlag is a flag that takes a rule. Each time it is given it adds one.
type ruleFlag struct{ rules *[]*expect.Rule }

// Set implements pflag.Value.
func (f ruleFlag) Set(text string) error {
	rule, err := expect.Compile("", "", strings.TrimSpace(text))
	if err != nil {
		return err
	}
	*f.rules = append(*f.rules, rule)
	return nil
}

// String implements pflag.Value.
func (f ruleFlag) String() string { return "" }

// Type implements pflag.Value.
func (f ruleFlag) Type() string { return "RULE" }

// ruleFile is a flag that takes a file of rules.
type ruleFile struct{ rules *[]*expect.Rule }

// Set implements pflag.Value.
func (f ruleFile) Set(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	rules, err := expect.ReadFile(file)
	if err != nil {
		return err
	}
	*f.rules = append(*f.rules, rules...)
	return nil
}

// String implements pflag.Value.
func (f ruleFile) String() string { return "" }

// Type implements pflag.Value.
func (f ruleFile) Type() string { return "FILE" }

// expectFlags are the flags of what connections are expected to do, and of how that is
// answered.
type expectFlags struct {
	rules       []*expect.Rule
	junit, json string
}

func (f *expectFlags) bind(flags *pflag.FlagSet) {
	flags.Var(ruleFlag{&f.rules}, "expect",
		"exit with 10 at the end unless this rule of all connections holds: 'all(conns, .connect_ms < 50)'; with 12 if events were lost")
	flags.Var(ruleFile{&f.rules}, "expect-file", "rules with names, in YAML, a list under \"rules\" of name, description and expect")
	flags.StringVar(&f.junit, "junit", "", "write what became of the rules to this `FILE`, as JUnit's XML; - is stdout")
	flags.StringVar(&f.json, "json", "", "write it to this `FILE` as a JSON object; - is stdout")
}

// uses tells whether one of the rules asks for one of the fields.
func (f *expectFlags) uses(names ...string) bool {
	return slices.ContainsFunc(f.rules, func(rule *expect.Rule) bool {
		return slices.ContainsFunc(rule.Uses(), func(used string) bool { return slices.Contains(names, used) })
	})
}

// checkExpected refuses rules where only what the tracepoint says is shown.
func (f *expectFlags) checkExpected() error {
	if len(f.rules) > 0 {
		return usagef("--expect with what the tracepoint says alone, which tells of no connection: leave out --raw, -o bcc and -o libbpf")
	}
	return nil
}

// checkAnswers refuses to write an answer where there is no question, or none to all.
func (f *viewFlags) checkAnswers() error {
	if f.count > 0 && len(f.rules) > 0 {
		return usagef("--count with --expect: what comes after so many events would not be judged: leave out one of them")
	}
	if err := f.checkFiles(); err != nil {
		return err
	}
	for _, answer := range []struct{ flag, path string }{{"--junit", f.junit}, {"--json", f.json}} {
		if answer.path != "" && len(f.rules) == 0 {
			return usagef("%s without --expect: it says what became of rules: give one, such as --expect 'none(conns, .failed)'", answer.flag)
		}
	}
	return nil
}

// checkFiles refuses to write two answers to one place.
func (f *expectFlags) checkFiles() error {
	if f.junit != "" && f.junit == f.json {
		return usagef("--junit %s with --json %[1]s: one would overwrite the other: name two files", f.junit)
	}
	return nil
}

// answers are the files that the answer is written to, opened while the process may.
type answers struct{ junit, json *os.File }

// openAnswers opens those that the flags name.
func (a *app) openAnswers(f *expectFlags) (to answers, err error) {
	if to.junit, err = a.openAnswer("--junit", f.junit); err != nil {
		return to, err
	}
	to.json, err = a.openAnswer("--json", f.json)
	return to, err
}

func (a *app) openAnswer(flag, path string) (*os.File, error) {
	if path == "" || path == "-" {
		return nil, nil
	}
	file, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("write the answer with %s: %w%s", flag, err, hint(err))
	}
	return file, nil
}

// inForce are the flags that choose connections, as they were given; empty if none does.
func (f *filterFlags) inForce() string {
	var words []string
	f.flags.Visit(func(flag *pflag.Flag) {
		switch flag.Value.(type) {
		case *filterValue, *whereFlag:
			words = append(words, "--"+flag.Name+" "+flag.Value.String())
			return
		}
		switch flag.Name {
		case "ipv4", "ipv6", "tree":
			words = append(words, "--"+flag.Name)
		}
	})
	return strings.Join(words, " ")
}
