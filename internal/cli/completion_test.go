package cli

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tcpstates/internal/filter"

	"tcpstates/internal/kerneltest"
)

// freeText are the kinds of values that nobody can list.
var freeText = []string{"ADDRESSES", "EXPR", "N", "PORTS", "RATE", "RULE", "SIZE", "TIME"}

// ofCgroups are the flags whose values a machine need not have any of.
var ofCgroups = []string{"cgroup", "container", "unit"}

// TestEveryFlagCompletes goes through all flags: one that takes a value has
// some to offer, takes a file, or takes what cannot be listed.
func TestEveryFlagCompletes(t *testing.T) {
	seen := map[string]bool{}
	eachFlag((&app{}).newRoot(), func(cmd *cobra.Command, flag *pflag.Flag) {
		seen[flag.Name] = true
		kind, _ := pflag.UnquoteUsage(flag)
		given, has := flagValues[flag.Name]
		isFree := slices.Contains(freeText, kind) || namesFile(kind)
		switch {
		case flag.Value.Type() == "bool":
		case has == isFree:
			t.Errorf("%s --%s %s: give it its values in flagValues, or call them what the help calls a file or free text",
				cmd.CommandPath(), flag.Name, kind)
		case has && len(given.of(cmd, "")) == 0 && !slices.Contains(ofCgroups, flag.Name):
			t.Errorf("%s --%s offers nothing", cmd.CommandPath(), flag.Name)
		}
	})
	for name := range flagValues {
		if !seen[name] {
			t.Errorf("there are values for --%s, and no such flag", name)
		}
	}
}

// eachFlag calls f with every flag that the help shows.
func eachFlag(cmd *cobra.Command, f func(*cobra.Command, *pflag.Flag)) {
	cmd.LocalFlags().VisitAll(func(flag *pflag.Flag) {
		if !flag.Hidden {
			f(cmd, flag)
		}
	})
	for _, sub := range cmd.Commands() {
		eachFlag(sub, f)
	}
}

// TestOffersAreTaken gives each offer of a flag that takes names to the flag
// itself.
func TestOffersAreTaken(t *testing.T) {
	eachFlag((&app{}).newRoot(), func(cmd *cobra.Command, flag *pflag.Flag) {
		given, has := flagValues[flag.Name]
		if !has {
			return
		}
		for _, word := range []string{"", "E", "LISTEN>"} {
			for _, offer := range given.of(cmd, word) {
				value, _, _ := strings.Cut(offer, "\t")
				if strings.HasSuffix(value, ">") {
					continue // it goes on, as the one after LISTEN> does
				}
				if filters, ok := flag.Value.(*filterValue); ok {
					*filters.set = filter.Set{} // each offer for itself
				}
				if err := flag.Value.Set(value); err != nil {
					t.Errorf("%s --%s refuses %q, which is offered: %v", cmd.CommandPath(), flag.Name, value, err)
				}
			}
		}
	})
}

// TestShells completes lines in real shells.
func TestShells(t *testing.T) {
	tests := []struct{ line, want string }{
		{"tcpstates -o js", "json"},
		{"tcpstates --output=lib", "libbpf"},
		{"tcpstates conns --backend trace", "tracepoint"},
		{"tcpstates list --state est", "established"},
		{"tcpstates list --state LISTEN,FIN_WAIT1,TIME", "LISTEN,FIN_WAIT1,TIME_WAIT"},
		{"tcpstates --drop-to roo", "root"},
		{"tcpstates --reason refused,reset-b", "refused,reset-by-peer"},
		{"tcpstates --role client,lis", "client,listener"},
		{"tcpstates doc", "doctor"},
		{"tcpstates completion z", "zsh"},
		{"tcpstates wait --state lis", "listen"},
		{"tcpstates exec mkfif", "mkfifo"},
	}
	for _, shell := range shells {
		t.Run(shell.name, func(t *testing.T) {
			kerneltest.RequireCommand(t, shell.name)
			if _, err := os.Stat("/usr/share/bash-completion"); err != nil && shell.name == "bash" && os.Getenv("CI") == "" {
				t.Skip("this test needs bash-completion: install it")
			}
			for _, test := range tests {
				got := completeIn(t, shell.name, test.line, test.want)
				if _, value, is := strings.Cut(got, "="); is { // fish offers the flag with it
					got = value
				}
				if got = strings.ReplaceAll(got, `\`, ""); got != test.want {
					t.Errorf("%q is completed with %q, want %q", test.line, got, test.want)
				}
			}
		})
	}
}

// completeIn has a shell complete a line.
func completeIn(t *testing.T, shell, line, want string) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, shell, filepath.Join("../../testdata/completion", shell), line, want)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "TERM=dumb", "PATH="+filepath.Dir(path)+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", shell, err, out)
	}
	return strings.TrimSpace(string(out))
}
