package probe

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tcpstates/internal/kerneltest"
)

func TestLayouts(t *testing.T) {
	for name, want := range map[string][]place{
		// skaddr, oldstate, newstate, sport, dport, family, protocol, saddr, daddr, saddr_v6, daddr_v6
		"linux-4.18": {{8, 8}, {16, 4}, {20, 4}, {24, 2}, {26, 2}, {28, 2}, {30, 1}, {31, 4}, {35, 4}, {39, 16}, {55, 16}},
		"linux-5.4":  {{8, 8}, {16, 4}, {20, 4}, {24, 2}, {26, 2}, {28, 2}, {30, 1}, {31, 4}, {35, 4}, {39, 16}, {55, 16}},
		"rhel-9":     {{16, 8}, {24, 4}, {28, 4}, {32, 2}, {34, 2}, {36, 2}, {38, 2}, {40, 4}, {44, 4}, {48, 16}, {64, 16}},
		"linux-6.18": {{8, 8}, {16, 4}, {20, 4}, {24, 2}, {26, 2}, {28, 2}, {30, 2}, {32, 4}, {36, 4}, {40, 16}, {56, 16}},
	} {
		format, err := os.ReadFile(filepath.Join("testdata/format", name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseLayout(string(format))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v, want %v", name, got, err, want)
		}
	}
}

func TestLayoutsThatCannotBeRead(t *testing.T) {
	good, err := os.ReadFile("testdata/format/linux-6.18")
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string][2]string{
		"a field is missing":     {"skaddr", "address"},
		"a number too wide":      {"offset:24;	size:2", "offset:24;	size:8"},
		"an address too short":   {"offset:40;	size:16", "offset:40;	size:15"},
		"no width":               {"offset:24;	size:2", "offset:24"},
		"no place":               {"offset:24;", ""},
		"no number":              {"offset:24", "offset:here"},
		"beyond any record":      {"offset:24", "offset:9000"},
		"beyond all numbers":     {"offset:24", "offset:99999999999999999999"},
		"a field without a name": {"field:__u16 sport", "field:"},
	} {
		text := strings.Replace(string(good), change[0], change[1], 1)
		if text == string(good) {
			t.Fatalf("%s: nothing was changed", name)
		}
		if places, err := parseLayout(text); err == nil {
			t.Errorf("%s: read as %v", name, places)
		}
	}
}

func FuzzParseLayout(f *testing.F) {
	good, err := os.ReadFile("testdata/format/linux-6.18")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(good))
	f.Fuzz(func(t *testing.T, format string) {
		places, err := parseLayout(format)
		if err != nil {
			return
		}
		for i, p := range places {
			if int(p.Offset)+int(p.Width) > maxRecord || !slices.Contains(layoutFields[i].widths, p.Width) {
				t.Errorf("%s is at %v", layoutFields[i].name, p)
			}
		}
	})
}

// TestLayoutOfThisKernel reads it where tracefs is mounted nowhere.
func TestLayoutOfThisKernel(t *testing.T) {
	kerneltest.Require(t)
	root, err := openTracefs()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := readLayout(root); err != nil {
		t.Error(err)
	}
}
