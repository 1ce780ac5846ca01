package names

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const services = `# a comment
ssh		22/tcp				# SSH
domain		53/tcp
domain-udp	53/udp
https		443/tcp		web-tls
other		443/tcp
nothing
broken		x/tcp
zero		0/tcp
big		65536/tcp
17		17/tcp
evil` + "\x1b" + `[2J	18/tcp
back\slash	19/tcp
sctp-only	20/sctp
last		65535/udp`

func TestReadServices(t *testing.T) {
	path := filepath.Join(t.TempDir(), "services")
	if err := os.WriteFile(path, []byte(services), 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := ReadServices(path)
	if err != nil {
		t.Fatal(err)
	}
	for port, want := range map[uint16][2]string{
		22: {"ssh", ""}, 53: {"domain", "domain-udp"}, 443: {"https", ""}, 65535: {"", "last"},
		0: {}, 17: {}, 18: {}, 19: {}, 20: {}, 1: {},
	} {
		if got := [2]string{s.Name(port, false), s.Name(port, true)}; got != want {
			t.Errorf("%d is %q, want %q", port, got, want)
		}
	}
}

func TestReadServicesRefuses(t *testing.T) {
	dir := t.TempDir()
	if _, err := ReadServices(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of no file: %v", err)
	}
	big := filepath.Join(dir, "big")
	if err := os.WriteFile(big, []byte(strings.Repeat("#\n", maxServices/2)+"x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadServices(big); err == nil || !strings.Contains(err.Error(), "more than 4 MiB") {
		t.Errorf("of a big file: %v", err)
	}
}

func FuzzParseServices(f *testing.F) {
	f.Add(services)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseServices(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, names := range []map[uint16]string{s.tcp, s.udp} {
			for port, name := range names {
				if port == 0 || !isServiceName(name) {
					t.Fatalf("%d is %q", port, name)
				}
			}
		}
	})
}
