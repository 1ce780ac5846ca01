package cli

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"tcpstates/internal/event"
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

// maxProcesses bounds how many are looked at for completions.
const maxProcesses = 10_000

// processes are those that /proc shows, by their ids, with their names.
func processes() map[string]string {
	names := map[string]string{}
	paths, _ := filepath.Glob("/proc/[0-9]*/comm") // fails for a bad pattern alone
	for _, path := range paths[:min(len(paths), maxProcesses)] {
		if name, err := os.ReadFile(path); err == nil { // else it has ended
			names[strings.Split(path, "/")[2]] = strings.TrimSuffix(string(name), "\n")
		}
	}
	return names
}

// processIDs offers the processes by their ids.
func processIDs(*cobra.Command, string) (all []string) {
	for id, name := range processes() {
		all = append(all, id+"\t"+strings.Map(printable, name))
	}
	return all
}

// processNames offers their names.
func processNames() (all []string) {
	for _, name := range processes() {
		// Of kernel threads /proc has longer names than the kernel keeps.
		if isPlain(name) && len(name) < len(event.Comm{}) && !strings.Contains(name, ",") {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// commandNames offers the commands in PATH as the first word, and files behind it or
// where a path is begun.
func commandNames(_ *cobra.Command, args []string, word string) (all []string, _ cobra.ShellCompDirective) {
	if len(args) > 0 || strings.ContainsRune(word, '/') {
		return nil, cobra.ShellCompDirectiveDefault
	}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		entries, _ := os.ReadDir(dir) // of what is not there nothing is offered
		for _, entry := range entries {
			if name := entry.Name(); strings.HasPrefix(name, word) && isPlain(name) {
				all = append(all, name)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all), cobra.ShellCompDirectiveDefault
}

// isPlain tells whether a name from elsewhere can stand in a shell's list.
func isPlain(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) })
}
