// Package internal_test holds the project's rooms to the imports they may have.
package internal_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// mayImport lists, for each room, the packages outside the standard library
// that it may import; a trailing /... stands for all below. Tests may import
// more. A room that is not listed may not exist.
var mayImport = map[string][]string{
	"bpf":              {"github.com/cilium/ebpf"},
	"cmd/tcpstates":    {"tcpstates/internal/cli"},
	"internal/event":   {},
	"internal/wire":    {"tcpstates/bpf", "tcpstates/internal/event"},
	"internal/feature": {"github.com/cilium/ebpf/...", "golang.org/x/sys/..."},
	"internal/filter":  {"tcpstates/internal/event"},
	"internal/cgroup":  {"tcpstates/internal/event", "golang.org/x/sys/..."},
	"internal/conn":    {"tcpstates/internal/event"},
	"internal/record":  {"tcpstates/internal/event", "github.com/klauspost/compress/zstd"},
	"internal/report":  {},
	"internal/summary": {"tcpstates/internal/event", "github.com/HdrHistogram/hdrhistogram-go"},
	"internal/minisock": {
		"tcpstates/internal/conn", "tcpstates/internal/event", "tcpstates/internal/pipeline", "tcpstates/internal/snapshot",
		"tcpstates/internal/wire",
	},
	"internal/column": {"tcpstates/internal/event", "github.com/agnivade/levenshtein"},
	"internal/names":  {"tcpstates/internal/event"},
	"internal/query": {
		"tcpstates/internal/column", "tcpstates/internal/event", "github.com/agnivade/levenshtein", "github.com/expr-lang/expr/...",
	},
	"internal/expect": {
		"tcpstates/internal/column", "tcpstates/internal/event", "tcpstates/internal/query", "github.com/expr-lang/expr/...",
		"go.yaml.in/yaml/v3",
	},
	"internal/output": {
		"tcpstates/internal/column", "tcpstates/internal/event", "tcpstates/internal/pipeline",
		"github.com/coreos/go-systemd/v22/journal", "golang.org/x/sys/...",
	},
	"internal/outlet":   {"tcpstates/internal/event", "tcpstates/internal/output", "tcpstates/internal/pipeline"},
	"internal/pipeline": {"tcpstates/internal/event"},
	"internal/kerneltest": {
		"tcpstates/internal/event", "tcpstates/internal/netns", "tcpstates/internal/traffic", "golang.org/x/sys/...",
	},
	"internal/netns":   {"tcpstates/internal/thread", "golang.org/x/sys/..."},
	"internal/traffic": {"golang.org/x/sys/..."},
	"internal/load":    {"tcpstates/internal/traffic", "golang.org/x/sys/..."},
	"internal/peers": {
		"tcpstates/internal/netns", "tcpstates/internal/traffic", "tcpstates/internal/truth", "github.com/cilium/ebpf",
		"golang.org/x/sys/...",
	},
	"internal/truth":     {"tcpstates/bpf", "github.com/cilium/ebpf/..."},
	"internal/logfile":   {},
	"internal/golden":    {"github.com/google/go-cmp/cmp"},
	"internal/thread":    {"golang.org/x/sys/..."},
	"internal/privilege": {"kernel.org/pub/linux/libs/security/libcap/cap"},
	"internal/sbom":      {},
	"internal/manual":    {"tcpstates/internal/cli", "github.com/spf13/..."},
	"internal/snapshot": {
		"tcpstates/bpf", "tcpstates/internal/wire", "tcpstates/internal/event", "tcpstates/internal/thread",
		"github.com/cilium/ebpf/...", "github.com/vishvananda/netlink", "golang.org/x/sys/...",
	},
	"internal/probe": {
		"tcpstates/bpf", "tcpstates/internal/wire", "tcpstates/internal/feature", "tcpstates/internal/filter",
		"tcpstates/internal/event", "tcpstates/internal/thread", "github.com/cilium/ebpf/...", "golang.org/x/sys/...",
	},
	"internal/cli": {"tcpstates/...", "github.com/spf13/...", "golang.org/x/sys/..."},
}

// onlyInCLI are what the rest of the project gets handed in: the arguments,
// the streams and the wall clock. A program that is no part of the command, as sbom,
// manual and load, has its own.
var onlyInCLI = []string{"os.Args", "os.Stdout", "os.Stderr", "os.Stdin", "time.Now("}

// pkg is what go list tells of a package.
type pkg struct {
	ImportPath, Dir string
	Standard        bool
	Imports         []string
	GoFiles         []string
}

func TestRoomsImportWhatTheyMay(t *testing.T) {
	packages := list(t, "tcpstates/...")
	standard := map[string]bool{}
	for _, p := range list(t, "std") {
		standard[p.ImportPath] = true
	}
	for _, p := range packages {
		room := strings.TrimPrefix(p.ImportPath, "tcpstates/")
		allowed, listed := mayImport[room]
		if !listed && len(p.GoFiles) > 0 {
			t.Errorf("%s is a room that nobody planned", room)
		}
		for _, path := range p.Imports {
			if !standard[path] && !slices.ContainsFunc(allowed, func(rule string) bool { return matches(rule, path) }) {
				t.Errorf("%s may not import %s", room, path)
			}
			if path == "tcpstates/internal/kerneltest" || path == "tcpstates/internal/golden" {
				t.Errorf("%s imports %s outside of its tests", room, path)
			}
		}
	}
}

func matches(rule, path string) bool {
	prefix, all := strings.CutSuffix(rule, "/...")
	return path == prefix || all && strings.HasPrefix(path, prefix+"/")
}

func TestOnlyCLITouchesTheProcess(t *testing.T) {
	for _, p := range list(t, "tcpstates/...") {
		switch strings.TrimPrefix(p.ImportPath, "tcpstates/internal/") {
		case "cli", "kerneltest", "traffic", "load", "peers", "sbom", "manual":
			continue
		}
		for _, word := range onlyInCLI {
			for _, file := range p.GoFiles {
				// grep exits with 1 when it finds nothing.
				if out, err := exec.Command("grep", "-nF", word, p.Dir+"/"+file).Output(); err == nil {
					t.Errorf("%s/%s: %s", p.ImportPath, file, out)
				}
			}
		}
	}
}

// list asks go list for packages.
func list(t *testing.T, pattern string) (all []pkg) {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Dir,Standard,Imports,GoFiles", pattern).Output()
	if err != nil {
		t.Fatal(err)
	}
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}
