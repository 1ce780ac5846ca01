// Manual writes the manual pages of tcpstates, a file a command, from what the
// commands say of themselves with --help:
//
//	manual FOLDER
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"tcpstates/internal/cli"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: manual FOLDER")
		os.Exit(2)
	}
	for name, text := range pages(cli.Command()) {
		if err := os.WriteFile(filepath.Join(os.Args[1], name), text, 0o644); err != nil {
			fmt.Fprintf(os.Stderr, "manual: write a page: %v\n", err)
			os.Exit(1)
		}
	}
}
