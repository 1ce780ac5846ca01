package main

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tcpstates/internal/golden"
)

func TestBill(t *testing.T) {
	info := &debug.BuildInfo{
		GoVersion: "go1.26.1",
		Path:      "tcpstates/cmd/tcpstates",
		Main:      debug.Module{Path: "tcpstates", Version: "(devel)"},
		Deps: []*debug.Module{
			{Path: "example.org/Mixed/Case", Version: "v1.2.3", Sum: "h1:AAAA="},
			{Path: "example.org/old", Version: "v3.0.0+incompatible", Sum: "h1:BBBB="},
			{Path: "example.org/wanted", Version: "v1.0.0", Replace: &debug.Module{Path: "example.org/fork", Version: "v1.0.1", Sum: "h1:CCCC="}},
		},
		Settings: []debug.BuildSetting{{Key: "-trimpath", Value: "true"}, {Key: "GOARCH", Value: "arm64"}},
	}
	text, err := json.MarshalIndent(billOf("v9.8.7", info, [32]byte{0xab, 31: 0xcd}), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden.Check(t, filepath.Join("testdata", "bill.json"), string(text)+"\n")
}

// TestBillOfTheCommand compares with what go version -m prints: "dep", the
// module's path, version and checksum.
func TestBillOfTheCommand(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tcpstates")
	run(t, "go", "build", "-o", path, "tcpstates/cmd/tcpstates")
	var want []component
	for line := range strings.Lines(run(t, "go", "version", "-m", path)) {
		if f := strings.Fields(line); f[0] == "dep" {
			want = append(want, component{Name: f[1], Version: f[2], Properties: []property{{"go:sum", f[3]}}})
		}
	}
	if len(want) == 0 {
		t.Fatal("go version -m tells of no modules")
	}

	text, err := billOfFile("v1", path)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := billOfFile("v1", path); err != nil || !bytes.Equal(text, second) {
		t.Errorf("a second bill differs: %v", err)
	}
	var b bill
	if err := json.Unmarshal(text, &b); err != nil {
		t.Fatal(err)
	}
	got := b.Components[1:] // after the standard library
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(component{}, "Type", "Ref", "PURL")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
	return string(out)
}

func TestNoBillOfWhatGoDidNotBuild(t *testing.T) {
	_, err := billOfFile("v1", "bill.go")
	if err == nil || !strings.HasPrefix(err.Error(), "read what bill.go was built from: ") {
		t.Errorf("got %v", err)
	}
}
