package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"tcpstates/internal/kerneltest"
)

// TestInstalledFiles looks for what make install puts beside the command: all
// may read it, and there is something to read.
func TestInstalledFiles(t *testing.T) {
	kerneltest.RequireCommand(t, "make")
	root := t.TempDir()
	out, err := exec.Command("make", "-C", "../..", "install", "DESTDIR="+root, "PREFIX=/usr").CombinedOutput()
	if err != nil {
		t.Fatalf("make install: %v: %s", err, out)
	}
	for _, path := range []string{
		"bash-completion/completions/tcpstates",
		"zsh/site-functions/_tcpstates",
		"fish/vendor_completions.d/tcpstates.fish",
		"man/man1/tcpstates.1",
		"man/man1/tcpstates-conns.1",
	} {
		switch file, err := os.Stat(filepath.Join(root, "usr/share", path)); {
		case err != nil:
			t.Error(err)
		case file.Mode() != 0o644 || file.Size() == 0:
			t.Errorf("%s has mode %v and %d bytes", path, file.Mode(), file.Size())
		}
	}
}
