package main

import (
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tcpstates/internal/cli"
)

// edited is when what the pages say was last gone through: they are to be the
// same whenever they are made.
const edited = "2026-11-29"

// pages are the manual pages of a command and of all below it that are not
// hidden, by the names of their files.
func pages(cmd *cobra.Command) map[string][]byte {
	all := map[string][]byte{}
	for _, cmd := range family(cmd) {
		all[pageName(cmd)+".1"] = []byte(page(cmd))
	}
	return all
}

// family is a command with all below it that are not hidden.
func family(cmd *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{cmd}
	for _, sub := range cmd.Commands() {
		if !sub.Hidden {
			all = append(all, family(sub)...)
		}
	}
	return all
}

// pageName is the name of a command's page: tcpstates-conns.
func pageName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// page is the manual page of a command, in the macros of man(7).
func page(cmd *cobra.Command) string {
	var p roff
	p.line(".TH", strings.ToUpper(pageName(cmd)), "1", edited, "tcpstates", "User Commands")
	p.line(".ad", "l") // even spaces
	p.line(".nh")      // and whole names
	p.section("NAME")
	p.text(pageName(cmd) + ` \- ` + escape(uncapitalized(cmd.Short)))
	p.section("SYNOPSIS")
	synopsis(&p, cmd)
	p.section("DESCRIPTION")
	p.paragraphs(cmd.Long)
	subcommands(&p, cmd)
	p.section("OPTIONS")
	options(&p, cmd)
	formats(&p, cmd)
	p.section("EXIT STATUS")
	for _, exit := range cli.ExitCodes(cmd) {
		p.item(bold(strconv.Itoa(exit.Code)), escape(exit.Meaning))
	}
	p.section("EXAMPLES")
	examples(&p, cmd.Example)
	p.section("SEE ALSO")
	p.text(strings.Join(seeAlso(cmd), ", "))
	return p.String()
}

// synopsis has the lines of use: the command's own, and that of those below it.
func synopsis(p *roff, cmd *cobra.Command) {
	name, rest := cmd.CommandPath(), strings.TrimPrefix(cmd.UseLine(), cmd.CommandPath())
	p.text(bold(name) + escape(rest))
	if cmd.HasAvailableSubCommands() {
		p.line(".br")
		p.text(bold(name) + ` \fIcommand\fR [flags]`)
	}
}

// subcommands lists the commands below a command.
func subcommands(p *roff, cmd *cobra.Command) {
	if !cmd.HasAvailableSubCommands() {
		return
	}
	p.section("COMMANDS")
	for _, sub := range family(cmd)[1:] {
		p.item(reference(sub), escape(sub.Short))
	}
}

// options lists the flags in the order of the help.
func options(p *roff, cmd *cobra.Command) {
	cmd.InitDefaultHelpFlag()
	cmd.InitDefaultVersionFlag()
	cmd.LocalFlags().SortFlags = false
	cmd.LocalFlags().VisitAll(func(flag *pflag.Flag) {
		if flag.Hidden {
			return
		}
		kind, usage := pflag.UnquoteUsage(flag)
		head := bold("--" + flag.Name)
		if flag.Shorthand != "" {
			head = bold("-"+flag.Shorthand) + ", " + head
		}
		if kind != "" {
			head += ` \fI` + escape(kind) + `\fR`
		}
		if flag.DefValue != "" && flag.DefValue != "false" && flag.DefValue != "0" {
			usage += " (default " + flag.DefValue + ")"
		}
		p.item(head, escape(usage))
	})
}

// formats lists the formats that the command has, if it has any.
func formats(p *roff, cmd *cobra.Command) {
	list := cmd.Annotations[cli.FormatsAnnotation]
	if list == "" {
		return
	}
	p.section("FORMATS")
	for line := range strings.SplitSeq(list, "\n") {
		name, help, _ := strings.Cut(line, "\t")
		p.item(bold(name), escape(help))
	}
}

// examples shows each line of the help's examples; what stands behind a command,
// after two spaces, says what it is for.
func examples(p *roff, text string) {
	for line := range strings.Lines(text) {
		command, purpose, _ := strings.Cut(strings.TrimSpace(line), "  ")
		p.item(bold(command), escape(strings.TrimSpace(purpose)))
	}
}

// seeAlso are the pages of the other commands, and what a reader may want.
func seeAlso(cmd *cobra.Command) (pages []string) {
	for _, other := range family(cmd.Root()) {
		if other != cmd {
			pages = append(pages, reference(other))
		}
	}
	slices.Sort(pages)
	return append(pages, `\fBss\fR(8)`, `\fBtcp\fR(7)`)
}

// reference is how a page refers to a command's.
func reference(cmd *cobra.Command) string { return bold(pageName(cmd)) + "(1)" }

// uncapitalized begins with a small letter.
func uncapitalized(text string) string { return strings.ToLower(text[:1]) + text[1:] }
