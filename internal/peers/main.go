// Peers measures tcpstates on this machine, as root:
//
//	peers bench    side by side with other tracers, beside the same load
//	peers soak     alone, beside many connections, for a long time
//
// What it takes from the tree is built by make bench-peers and make soak.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
)

func main() {
	commands := map[string]func(args []string) error{"bench": bench, "soak": soak}
	var run func(args []string) error
	if len(os.Args) > 1 {
		run = commands[os.Args[1]]
	}
	if run == nil {
		fmt.Fprintln(os.Stderr, "usage: peers bench|soak [flags]")
		os.Exit(2)
	}
	err := run(os.Args[2:])
	var usage usageError
	switch {
	case errors.Is(err, flag.ErrHelp):
	case errors.As(err, &usage):
		fmt.Fprintf(os.Stderr, "peers: %v\n", err)
		os.Exit(2)
	case err != nil:
		fmt.Fprintf(os.Stderr, "peers: %v\n", err)
		os.Exit(1)
	}
}

// usageError is what is wrong with the flags.
type usageError struct{ error }

// requireRoot says so where the program could not do anything.
func requireRoot() error {
	if os.Geteuid() != 0 {
		return errors.New("network namespaces and BPF programs need root: run it with sudo")
	}
	return nil
}
