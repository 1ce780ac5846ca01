package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tcpstates/internal/output"
)

// newRoot makes the command without a name, which traces.
func (a *app) newRoot() *cobra.Command {
	flags := &transitionsFlags{traceFlags: newTraceFlags()}
	cmd := &cobra.Command{
		Use:   "tcpstates [flags]",
		Short: "Show every TCP state transition on this machine, live",
		Long: `tcpstates shows every TCP connection on this machine changing its state, as it
happens: the process that owns the socket, both ends, the old and the new state,
the milliseconds spent in the old one, and what explains it: how long a
handshake took, why a connection ended. It traces until Ctrl-C.

What is not known is shown as "-": the age of a new socket, a port that the
kernel has not chosen yet, the owner of a socket that no process has open. ">="
stands before a duration whose beginning was before the trace.

It exits with 0 when it is done, 1 when it failed or its output is not complete, 2 when
it was asked for what there is not, and 3 when this machine or user cannot trace. Where
something is expected it exits with 10 when a rule does not hold, 11 when the time of
--timeout is over, and 12 when nobody knows, as events were lost. exec exits as its
command does when that fails, with 126 or 127 when it cannot be run or is not there.`,
		Example: `  tcpstates                         every transition until Ctrl-C
  tcpstates -L 80,443               connections to this machine's web server
  tcpstates -D 5432 --duration 1m   connections to a database, for a minute
  tcpstates -o json | jq .          one JSON object a line
  tcpstates --group                 connection by connection, with its states as a bar
  tcpstates conns --failed          one line for each connection that failed
  tcpstates exec -- curl localhost  what a command does, from its beginning to its end
  tcpstates -o bcc -T               as BCC's tcpstates prints it`,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if flags.inKernel.given && flags.inKernel.rate == 0 {
				return a.countInKernel(cmd.Context(), flags, cmd.Flags())
			}
			return a.traceTransitions(cmd.Context(), flags, cmd.Flags().Changed)
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	cmd.Flags().SortFlags = false
	flags.bind(cmd.Flags())
	setFormats(cmd, func(output.Format) bool { return true })
	cmd.CompletionOptions.DisableDefaultCmd = true
	cmd.SetHelpCommand(&cobra.Command{Hidden: true})
	cmd.AddCommand(a.newConns(), a.newExec(), a.newWait(), a.newList(), a.newRecord(), a.newReplay(), a.newConvert(), a.newColumns(), a.newDoctor(), a.newCompletion())
	completeValues(cmd)
	return cmd
}

// noArgs refuses arguments that are no flags.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usagef("%s: %s takes flags alone: see %[2]s --help", strconv.Quote(args[0]), cmd.CommandPath())
}

// usageTemplate lays out the help of a command.
const usageTemplate = `Usage:
  {{.UseLine}}{{if .HasAvailableSubCommands}}
  {{.CommandPath}} [command] [flags]

Commands:{{range .Commands}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}

Examples:
{{.Example}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}
`

// FormatsAnnotation is where a command has its formats, for completions and the
// manual: a line each, a tab between the name and what it is.
const FormatsAnnotation = "formats"

// setFormats says in the command's help which formats it has.
func setFormats(cmd *cobra.Command, has func(output.Format) bool) {
	var lines []string
	help := "\nFormats (-o):\n"
	for _, format := range output.Formats {
		if has(format) {
			lines = append(lines, format.Name+"\t"+format.Help)
			help += fmt.Sprintf("  %-7s %s\n", format.Name, format.Help)
		}
	}
	cmd.Annotations = map[string]string{FormatsAnnotation: strings.Join(lines, "\n")}
	cmd.SetUsageTemplate(usageTemplate + help)
}

// wrapHelp breaks the lines of flags in the help of the command, and of those below,
// at the terminal's width; zero means that there is none.
func wrapHelp(cmd *cobra.Command, width int) {
	for _, sub := range cmd.Commands() {
		wrapHelp(sub, width)
	}
	cmd.SetUsageTemplate(strings.Replace(cmd.UsageTemplate(), ".FlagUsages", fmt.Sprint(".FlagUsagesWrapped ", width), 1))
}
