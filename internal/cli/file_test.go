package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func read(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestFileTakesTheOutput in place of stdout, byte for byte.
func TestFileTakesTheOutput(t *testing.T) {
	for _, format := range []string{"table", "wide", "csv", "bcc", "libbpf"} {
		var out, none bytes.Buffer
		path := filepath.Join(t.TempDir(), "out")
		codeOut, _ := runCommand(t, &fake{events: transitions(3)}, &out, "-n3", "-o", format)
		codeFile, said := runCommand(t, &fake{events: transitions(3)}, &none, "-n3", "-o", format, "--file", path)
		if codeOut != 0 || codeFile != 0 || none.Len() > 0 || read(t, path) != out.String() {
			t.Errorf("%s: exit codes %d and %d, %q on stdout, %s, the file holds\n%s", format, codeOut, codeFile, &none, said, read(t, path))
		}
	}
}

// TestFilesRotate: no line is lost or cut in two, each file has the header.
func TestFilesRotate(t *testing.T) {
	const all = 1000
	path := filepath.Join(t.TempDir(), "out")
	code, said := runCommand(t, &fake{events: transitions(all)}, &bytes.Buffer{}, "-n1000", "-s",
		"--file", path, "--rotate-size", "4K", "--rotate-keep", "1000")
	files, err := filepath.Glob(path + "*")
	if code != 0 || err != nil || len(files) < 10 {
		t.Fatalf("exit code %d: %s, %d files, %v", code, said, len(files), err)
	}
	lines := 0
	for _, file := range files {
		text := read(t, file)
		if !strings.HasPrefix(text, "type,time,") || !strings.HasSuffix(text, "\r\n") || len(text) > 4096 {
			t.Errorf("%s of %d bytes: %.100s", file, len(text), text)
		}
		lines += strings.Count(text, "\r\ntransition,")
	}
	if lines != all {
		t.Errorf("%d lines, want %d", lines, all)
	}
}

func TestOldFilesAreRemoved(t *testing.T) {
	for _, args := range []string{"", "--rotate-keep 2"} {
		path := filepath.Join(t.TempDir(), "out")
		code, said := runCommand(t, &fake{events: transitions(1000)}, &bytes.Buffer{},
			append(strings.Fields(args), "-n1000", "-s", "--file", path, "--rotate-size", "4K")...)
		files, err := filepath.Glob(path + "*")
		want := 1 + defaultKeep
		if args != "" {
			want = 3
		}
		if code != 0 || err != nil || len(files) != want {
			t.Errorf("%s: exit code %d: %s, the files %s, %v", args, code, said, files, err)
		}
	}
}

func TestErrorsAtTheBeginningEndTheTrace(t *testing.T) {
	gone := filepath.Join(t.TempDir(), "gone", "out")
	for path, want := range map[string]string{
		"/dev/full": "tcpstates: write the events: write /dev/full: no space left on device\n",
		gone:        "tcpstates: write to a file with --file: open " + gone + ": no such file or directory: make its directory first\n",
		"/":         "tcpstates: write to a file with --file: open /: is a directory\n",
	} {
		code, said := runCommand(t, &fake{events: transitions(1)}, &bytes.Buffer{}, "-n1", "--file", path)
		if code != exitFailed || said != want {
			t.Errorf("%s: exit code %d, stderr %q, want %q", path, code, said, want)
		}
	}
}
