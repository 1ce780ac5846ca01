package cli

import (
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tcpstates/internal/column"
	"tcpstates/internal/event"
	"tcpstates/internal/probe"
)

// shells are those that completions are for, with what writes their script.
var shells = []struct {
	name  string
	write func(root *cobra.Command, w io.Writer) error
}{
	{"bash", func(root *cobra.Command, w io.Writer) error { return root.GenBashCompletionV2(w, true) }},
	{"zsh", func(root *cobra.Command, w io.Writer) error { return root.GenZshCompletion(w) }},
	{"fish", func(root *cobra.Command, w io.Writer) error { return root.GenFishCompletion(w, true) }},
}

// newCompletion makes the command that writes a shell's completions.
func (a *app) newCompletion() *cobra.Command {
	var names []string
	for _, shell := range shells {
		names = append(names, shell.name)
	}
	cmd := &cobra.Command{
		Use:   "completion " + strings.Join(names, "|"),
		Short: "Write the completions for a shell",
		Long: `tcpstates completion writes a script to stdout that has the shell complete
commands, flags, and the values of flags: formats, states, backends, users and
the like. "make install" puts it where the shells look by themselves.`,
		Example: `  source <(tcpstates completion bash)     in ~/.bashrc; it needs bash-completion
  source <(tcpstates completion zsh)      in ~/.zshrc, after compinit
  tcpstates completion fish | source      in ~/.config/fish/config.fish`,
		DisableFlagsInUseLine: true,
		ValidArgs:             names,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || !slices.Contains(names, args[0]) {
				return usagef("%s takes the name of one shell: %s", cmd.CommandPath(), orList(names))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return shells[slices.Index(names, args[0])].write(cmd.Root(), a.stdout)
		},
	}
	cmd.SetUsageTemplate(usageTemplate)
	return cmd
}

// values are those that a flag takes, for completions.
type values struct {
	// list says that it takes several, with commas between them.
	list bool
	// of are all that begin with the word, or more: "value", or "value\tmeaning".
	of func(cmd *cobra.Command, word string) []string
}

// flagValues has what the flags take, by their names. Of those that are not
// here nothing is offered, but files where a FILE or a PATH is taken.
var flagValues = map[string]values{
	"output":    {of: formatsOf},
	"backend":   {of: words(probe.BackendNames)},
	"transport": {of: words(probe.TransportNames)},
	"columns":   {of: columnNames, list: true},
	"to":        {of: words(formWords)},
	"drop-to":   {of: userNames},

	"state":      {of: stateNames, list: true},
	"transition": {of: transitionNames, list: true},
	"role":       {of: words(event.Names[event.Role]), list: true},
	"reason":     {of: words(reasonNames), list: true},
	"netns":      {of: netnsNames, list: true},
	"uid":        {of: userNames, list: true},
	"pid":        {of: processIDs, list: true},
	"comm":       {of: words(processNames), list: true},
	"cgroup":     {of: inCgroups(cgroupPaths), list: true},
	"container":  {of: inCgroups(containers), list: true},
	"unit":       {of: inCgroups(units), list: true},
}

// completeValues has cobra complete the values of all flags of the command and
// those below it, and no files in their place.
func completeValues(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(flag *pflag.Flag) {
		if kind, _ := pflag.UnquoteUsage(flag); namesFile(kind) {
			return
		}
		// It fails for a flag that is not there, or has values already.
		_ = cmd.RegisterFlagCompletionFunc(flag.Name, flagValues[flag.Name].complete)
	})
	if !namesFile(cmd.Use) && cmd.ValidArgs == nil && cmd.ValidArgsFunction == nil {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	for _, sub := range cmd.Commands() {
		completeValues(sub)
	}
}

// namesFile tells whether a file is taken, by the words of the help.
func namesFile(usage string) bool {
	return strings.Contains(usage, "FILE") || strings.Contains(usage, "PATH")
}

// complete offers what a word may become; of a list the last word, of which a
// sign in front is left as it is.
func (v values) complete(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	if v.of == nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	given, directive := "", cobra.ShellCompDirectiveNoFileComp
	if v.list {
		at := strings.LastIndexByte(word, ',') + 1
		at += len(word[at:]) - len(strings.TrimLeft(word[at:], "!+-"))
		given, word = word[:at], word[at:]
		directive |= cobra.ShellCompDirectiveNoSpace
	}
	var offers []string
	for _, value := range v.of(cmd, word) {
		if strings.HasPrefix(value, word) {
			offers = append(offers, given+value)
		}
	}
	return offers, directive
}

// words offers a fixed list.
func words(list func() []string) func(*cobra.Command, string) []string {
	return func(*cobra.Command, string) []string { return list() }
}

// formatsOf offers the formats that the command has.
func formatsOf(cmd *cobra.Command, _ string) []string {
	return strings.Split(cmd.Annotations[FormatsAnnotation], "\n")
}

// columnNames offers those of every command.
func columnNames(*cobra.Command, string) (all []string) {
	for _, c := range column.All {
		all = append(all, c.Name+"\t"+c.Help)
	}
	return all
}

// reasonNames are those of ends, with dashes for spaces.
func reasonNames() []string {
	names := event.Names[event.Reason]()
	for i, name := range names {
		names[i] = strings.ReplaceAll(name, " ", "-")
	}
	return names
}

// stateNames offers the states, in small letters unless the word has large ones.
func stateNames(_ *cobra.Command, word string) (all []string) {
	for state := event.Established; state <= event.NewSynRecv; state++ {
		name := state.String()
		if strings.ToUpper(word) != word || word == "" {
			name = strings.ToLower(strings.ReplaceAll(name, "_", "-"))
		}
		all = append(all, name)
	}
	return all
}

// transitionNames offers the first state of a transition, and behind it the
// second.
func transitionNames(cmd *cobra.Command, word string) (all []string) {
	from, to, found := strings.Cut(word, ">")
	if !found {
		for _, state := range append(stateNames(cmd, from), "*") {
			all = append(all, state+">")
		}
		return all
	}
	for _, state := range append(stateNames(cmd, to), "*") {
		all = append(all, from+">"+state)
	}
	return all
}
