package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// ExitCode is one, and what it means, for the manual.
type ExitCode struct {
	Code    int
	Meaning string
	// flags are words: commands that have one of these have the code; empty: all have.
	flags string
}

var exitCodes = []ExitCode{
	{exitDone, "It has done what it was asked for. To be ended by Ctrl-C, SIGTERM or a closed pipe is no failure, but of what exec runs.", ""},
	{exitFailed, "It has failed, or could not do all of it.", ""},
	{exitUsage, "The command line asks for what there is not, or contradicts itself.", ""},
	{exitCannot, "This machine or user cannot trace: a privilege or something of the kernel is missing.", ""},
	{exitRuleFailed, "A rule of --expect does not hold.", "expect"},
	{exitTimedOut, "The time of --timeout has passed.", "timeout"},
	{exitInconclusive, "Nobody knows: events were lost, or the recording is not complete.", "expect timeout"},
	{exitNotExecutable, "The command cannot be executed. Else it is the command's own exit code that tells of its failure, or 128 and the number of the signal that has killed it.", "linger"},
	{exitNotFound, "There is no such command.", "linger"},
}

// ExitCodes are those of a command, in order.
func ExitCodes(cmd *cobra.Command) (all []ExitCode) {
	for _, code := range exitCodes {
		has := func(flag string) bool { return cmd.Flags().Lookup(flag) != nil }
		if code.flags == "" || slices.ContainsFunc(strings.Fields(code.flags), has) {
			all = append(all, code)
		}
	}
	return all
}

// Command is the command with all below it, for the manual: nothing can be run
// with it.
func Command() *cobra.Command { return (&app{}).newRoot() }
