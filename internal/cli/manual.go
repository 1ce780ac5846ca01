package cli

import "github.com/spf13/cobra"

// ExitCodes are what each exit code means, by its number, for the manual.
var ExitCodes = []string{
	exitDone:   "It has done what it was asked for. To be ended by Ctrl-C, SIGTERM or a closed pipe is no failure.",
	exitFailed: "It has failed, or could not do all of it.",
	exitUsage:  "The command line asks for what there is not, or contradicts itself.",
	exitCannot: "This machine or user cannot trace: a privilege or something of the kernel is missing.",
}

// Command is the command with all below it, for the manual: nothing can be run
// with it.
func Command() *cobra.Command { return (&app{}).newRoot() }
