package report

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

// command is a workflow command as the runner takes it apart.
type command struct{ title, message string }

// read reads annotations back: first the lines are split, then the command's head ends
// with the first two colons, then escapes are undone.
func read(t testing.TB, text string) (all []command) {
	t.Helper()
	for text := range strings.Lines(text) {
		rest, begins := strings.CutPrefix(strings.TrimSuffix(text, "\n"), "::error title=")
		title, message, ends := strings.Cut(rest, "::")
		if !begins || !ends || strings.ContainsAny(title, ":,\r") || strings.Contains(message, "\r") {
			t.Fatalf("no command: %q", text)
		}
		all = append(all, command{unescape(title), unescape(message)})
	}
	return all
}

func unescape(text string) string {
	return strings.NewReplacer("%0D", "\r", "%0A", "\n", "%3A", ":", "%2C", ",", "%25", "%").Replace(text)
}

func TestGitHubTellsWhatFailed(t *testing.T) {
	for name, want := range map[string][]string{
		"passed":         nil,
		"replayed":       nil,
		"rule-failed":    {"rule failed: nothing is refused"},
		"command-failed": {"command failed: tcpstates exec -- ./smoke.sh", "rule failed: nothing is refused"},
		"signal":         {"command failed: tcpstates exec -- ./smoke.sh"},
		"timed-out":      {"timed out: tcpstates exec -- ./smoke.sh"},
		"inconclusive":   {"inconclusive: tcpstates exec -- ./smoke.sh"},
	} {
		var got []string
		for _, c := range read(t, render(t, GitHub, scenes()[name])) {
			got = append(got, c.title)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

// TestGitHubEscapes reads back a message that would be three commands, a title that
// would end early, and a percent sign that would begin an escape.
func TestGitHubEscapes(t *testing.T) {
	all := read(t, render(t, GitHub, hostile()))
	if len(all) != 3 {
		t.Fatalf("%d annotations", len(all))
	}
	for _, c := range all {
		if !strings.Contains(c.title, "title=a,b:c::100%0A") || !strings.Contains(c.message, "title=a,b:c::100%0A") {
			t.Errorf("read back: %+v", c)
		}
	}
}

func TestGitHubShowsOneConnection(t *testing.T) {
	message := read(t, render(t, GitHub, broken()))[0].message
	if !strings.Contains(message, refused().Timeline[1]) || strings.Contains(message, "127.0.0.1:1") ||
		!strings.HasSuffix(message, "\nand 13 more connections") {
		t.Error(message)
	}
}

func TestGitHubKeepsToTheLimits(t *testing.T) {
	r := smoke()
	r.Outcome, r.Rules = RuleFailed, nil
	for i := range 30 {
		r.Rules = append(r.Rules, Rule{
			Name: fmt.Sprintf("rule %d %s", i, strings.Repeat("ä", 300)), Outcome: RuleFailed,
			Why: []string{strings.Repeat("ö", 5000)},
		})
	}
	all := read(t, render(t, GitHub, r))
	if len(all) != 10 {
		t.Fatalf("%d annotations", len(all))
	}
	for _, c := range all {
		if titled, told := utf8.RuneCountInString(c.title), utf8.RuneCountInString(c.message); titled > 255 || told > 4096 {
			t.Errorf("%d characters of title, %d of message", titled, told)
		}
	}
	if last := all[9]; last.title != "21 more have not passed" || !strings.HasPrefix(last.message, "rule 9 ") {
		t.Errorf("the last is %+v", last)
	}
	r.Rules = r.Rules[:10]
	if all := read(t, render(t, GitHub, r)); len(all) != 10 || !strings.HasPrefix(all[9].title, "rule failed: rule 9 ") {
		t.Errorf("of ten failures the last is %+v", all[len(all)-1])
	}
}
