package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"tcpstates/internal/cli"
	"tcpstates/internal/kerneltest"
)

// folder is where the pages are kept.
const folder = "../../man"

func TestPagesAreCurrent(t *testing.T) {
	want := pages(cli.Command())
	kept, err := filepath.Glob(folder + "/*")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]byte{}
	for _, path := range kept {
		if got[filepath.Base(path)], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(asText(got), asText(want)); diff != "" {
		t.Errorf("man/ is not what make man makes -have +want:\n%s", diff)
	}
}

func asText(pages map[string][]byte) map[string]string {
	text := map[string]string{}
	for name, page := range pages {
		text[name] = string(page)
	}
	return text
}

// TestPagesTellAll looks for each flag that is not hidden, each exit code and
// each section.
func TestPagesTellAll(t *testing.T) {
	for _, cmd := range family(cli.Command()) {
		text := page(cmd)
		cmd.LocalFlags().VisitAll(func(flag *pflag.Flag) {
			if strings.Contains(text, bold("--"+flag.Name)) == flag.Hidden {
				t.Errorf("%s and --%s, hidden: %v", pageName(cmd), flag.Name, flag.Hidden)
			}
		})
		codes := []int{0, 1, 2, 3}
		if cmd.Name() == "exec" {
			codes = append(codes, 10, 11, 12, 126, 127)
		}
		for _, code := range codes {
			if !regexp.MustCompile(`(?s)"EXIT STATUS".*\n\\fB` + strconv.Itoa(code) + `\\fR\n`).MatchString(text) {
				t.Errorf("%s does not tell what it exits with %d for", pageName(cmd), code)
			}
		}
		sections := []string{"NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", `"EXIT STATUS"`, "EXAMPLES", `"SEE ALSO"`}
		if cmd.Flags().Lookup("output") != nil {
			sections = append(sections, "FORMATS")
		}
		for _, section := range sections {
			if !strings.Contains(text, "\n.SH "+section+"\n") {
				t.Errorf("%s has no section %s", pageName(cmd), section)
			}
		}
	}
}

// TestPagesAreClean has mandoc judge what is kept.
func TestPagesAreClean(t *testing.T) {
	kerneltest.RequireCommand(t, "mandoc")
	kept, err := filepath.Glob(folder + "/*.1")
	if err != nil || len(kept) == 0 {
		t.Fatalf("%d pages, %v", len(kept), err)
	}
	if out, err := exec.Command("mandoc", append([]string{"-Tlint"}, kept...)...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("mandoc: %v\n%s", err, out)
	}
}

// TestTextIsNoMacro shows text that would mean something else to roff, each word
// of it at the beginning of a line sooner or later.
func TestTextIsNoMacro(t *testing.T) {
	kerneltest.RequireCommand(t, "mandoc")
	hostile := ""
	for i := range lineWidth {
		hostile += strings.Repeat("x", i+1) + " .br 'so \\n \"quoted\" --flag ~ ^ `tick` .\\\" - "
	}
	var p roff
	p.line(".TH", "TEST", "1", edited)
	p.section("NAME")
	p.text(escape("test - " + hostile))
	render := exec.Command("mandoc", "-Tascii")
	render.Stdin = strings.NewReader(p.String())
	out, err := render.Output()
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join(strings.Fields(hostile), " ")
	if got := strings.Join(strings.Fields(string(out)), " "); !strings.Contains(got, want) {
		t.Errorf("it shows %.300s ..., want %.300s ...", got, want)
	}
}
