// Tcpstates shows every TCP state transition on this machine, live.
package main

import (
	"os"

	"tcpstates/internal/cli"
)

func main() { os.Exit(cli.Main()) }
