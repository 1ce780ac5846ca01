package filter

import (
	"strings"
	"testing"
)

func TestParsePorts(t *testing.T) {
	for list, want := range map[string][]uint16{
		"80":          {80},
		"80,443":      {80, 443},
		"8000-8003,1": {1, 8000, 8001, 8002, 8003},
		"5-5":         {5},
		"65534-65535": {65534, 65535},
		"7,7,6-8":     {6, 7, 8},
		"1-65535":     nil, // all of them
	} {
		ports, err := ParsePorts(list)
		if err != nil {
			t.Errorf("%s: %v", list, err)
			continue
		}
		wanted := map[uint16]bool{}
		for _, port := range want {
			wanted[port] = true
		}
		for port := range 1 << 16 {
			in := wanted[uint16(port)] || want == nil && port > 0
			if ports.Has(uint16(port)) != in {
				t.Errorf("%s: port %d in the set: %v", list, port, !in)
			}
		}
	}
}

func TestParsePortsRefuses(t *testing.T) {
	for list, want := range map[string]string{
		"":                     "a port is missing",
		"80,":                  "a port is missing",
		",80":                  "a port is missing",
		"80,,443":              "a port is missing",
		"0":                    `"0" is no port`,
		"65536":                `"65536" is no port`,
		"70000":                `"70000" is no port`,
		"-5":                   "a port is missing",
		"5-":                   "a port is missing",
		"+80":                  `"+80" is no port`,
		" 80":                  `" 80" is no port`,
		"http":                 `"http" is no port`,
		"0x50":                 `"0x50" is no port`,
		"9-8":                  "the range 9-8 ends before it begins",
		"1-2-3":                `"2-3" is no port`,
		"80-0":                 `"0" is no port`,
		"99999999999999999999": "is no port",
	} {
		if _, err := ParsePorts(list); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want an error with %q", list, err, want)
		}
	}
}

func FuzzParsePorts(f *testing.F) {
	f.Add("80,443,8000-8010")
	f.Add("-,")
	f.Fuzz(func(t *testing.T, list string) {
		ports, err := ParsePorts(list)
		if err == nil && ports.Has(0) {
			t.Errorf("%q: port 0 is in the set", list)
		}
	})
}
