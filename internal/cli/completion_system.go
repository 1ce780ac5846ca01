package cli

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
)

// maxPasswd bounds what is read of /etc/passwd for completions.
const maxPasswd = 1 << 20

// userNames offers the users of passwd(5).
func userNames(*cobra.Command, string) (all []string) {
	f, err := os.Open("/etc/passwd")
	if err != nil {
		return nil
	}
	defer f.Close()
	text, _ := io.ReadAll(io.LimitReader(f, maxPasswd)) // what could be read will do
	for line := range strings.Lines(string(text)) {
		if fields := strings.Split(line, ":"); len(fields) > 2 && isPlain(fields[0]) && isPlain(fields[2]) {
			all = append(all, fields[0]+"\tuser "+fields[2])
		}
	}
	return all
}

// netnsNames offers the command's own network namespace, and those that
// ip-netns(8) has named.
func netnsNames(*cobra.Command, string) []string {
	all := []string{"self\tthe command's own"}
	paths, _ := filepath.Glob("/run/netns/*") // fails for a bad pattern alone
	for _, path := range paths {
		if isPlain(path) {
			all = append(all, path)
		}
	}
	return all
}

// isPlain tells whether a name from elsewhere can stand in a shell's list.
func isPlain(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) })
}
