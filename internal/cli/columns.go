package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tcpstates/internal/column"
	"tcpstates/internal/event"
	"tcpstates/internal/names"
	"tcpstates/internal/output"
)

// columnList is a flag that takes a choice of columns.
type columnList struct {
	list   string
	choice *column.Choice // nil: not given
}

// Set implements pflag.Value.
func (c *columnList) Set(list string) (err error) {
	if c.choice, err = column.ParseChoice(list); err != nil {
		return fmt.Errorf("%w: it takes names such as time,pid,comm or +container,-sock, and tcpstates columns lists them all", err)
	}
	c.list = list
	return nil
}

// String implements pflag.Value.
func (c *columnList) String() string { return c.list }

// Type implements pflag.Value.
func (c *columnList) Type() string { return "NAMES" }

// columnFlags are the flags that choose columns, and names in place of numbers.
type columnFlags struct {
	columns            columnList
	resolve, portNames bool
}

func (f *columnFlags) bind(flags *pflag.FlagSet) {
	flags.Var(&f.columns, "columns", "these columns in this order: time,pid,comm; or with changes: +container,-sock; see tcpstates columns")
	flags.BoolVarP(&f.resolve, "resolve", "N", false, "show remote addresses by their names, once they are known; asks DNS")
	flags.BoolVar(&f.portNames, "port-names", false, "show ports by their names in "+names.ServicesFile)
}

// apply puts into the options, which are complete else, what the flags ask. The
// resolver is nil if no names are wanted; it is the caller's to close.
func (f *columnFlags) apply(a *app, format output.Format, o *output.Options) (*names.Resolver, error) {
	if err := f.check(format); err != nil {
		return nil, err
	}
	if f.portNames {
		services, err := names.ReadServices(a.services)
		if err != nil {
			return nil, fmt.Errorf("read the names of ports: %w: leave out --port-names, or install them (Debian: apt-get install netbase)", err)
		}
		o.Services = services.Name
	}
	var resolver *names.Resolver
	if f.resolve {
		resolver = names.NewResolver(a.lookup, time.Now)
		o.Names = resolver.Name
	}
	if err := f.choose(format, o); err != nil {
		return nil, err
	}
	return resolver, nil
}

// check refuses what the format has no place for.
func (f *columnFlags) check(format output.Format) error {
	for _, flag := range []struct {
		name  string
		given bool
	}{{"--columns", f.columns.choice != nil}, {"-N", f.resolve}, {"--port-names", f.portNames}} {
		if flag.given && format.Columns == nil {
			return usagef("%s with -o %s: that tool has its own columns: use table, wide, csv, json or logfmt", flag.name, format.Name)
		}
	}
	return nil
}

// choose makes the choice of columns, if one is given.
func (f *columnFlags) choose(format output.Format, o *output.Options) (err error) {
	if f.columns.choice == nil {
		return nil
	}
	if o.Columns, err = format.Choose(f.columns.choice, *o); err != nil {
		return usagef("--columns %w: see tcpstates columns", err)
	}
	for _, flag := range []struct {
		name, column string
		given        bool
	}{{"-T", column.Time.Name, o.Time}, {"-t", column.Elapsed.Name, o.Elapsed}} {
		if flag.given && !column.Has(o.Columns, flag.column) {
			return usagef("%s with --columns %s: %s is not among them: put it there, or leave out %[1]s", flag.name, f.columns.list, flag.column)
		}
	}
	return nil
}

// settling is how long a list waits for names.
const settling = 2 * time.Second

// settle asks for the names of all remote ends, and waits until they are known.
func settle(ctx context.Context, resolver *names.Resolver, events []event.Event) {
	for i := range events {
		_ = resolver.Apply(&events[i], func(*event.Event) error { return nil }) // which is what it returns
	}
	ctx, cancel := context.WithTimeout(ctx, settling)
	defer cancel()
	resolver.Settle(ctx)
}

// described is a column as tcpstates columns shows it.
type described struct {
	Name   string   `json:"name"`
	Unit   string   `json:"unit,omitempty"`
	In     []string `json:"in"`
	Source string   `json:"source"`
	Help   string   `json:"help"`
}

// newColumns makes the command that lists the columns.
func (a *app) newColumns() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "columns [flags]",
		Short: "List the columns: their names, units, sources and meanings",
		Long: `tcpstates columns lists everything that can be shown of an event. NAME is what
--columns takes, the header in CSV and the field in JSON and logfmt. IN says which
commands have the column; trace is tcpstates without a command. SOURCE is where
the value comes from: a field or function of the kernel, a file, or what the value
is concluded from.`,
		Example: `  tcpstates columns
  tcpstates columns -o json | jq -r .name
  tcpstates --columns time,pid,comm,raddr,rport,newstate
  tcpstates conns --columns +container,-rtt_ms`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			switch format {
			case "table":
				return writeColumns(a.stdout, widthOf(a.stdout)())
			case "json":
				return writeColumnsJSON(a.stdout)
			}
			return usagef("-o %q: there is no such format of this list: it takes table or json", format)
		},
	}
	cmd.Flags().StringVarP(&format, "output", "o", "table", "the `FORMAT`: table, or json for an object a line")
	cmd.SetUsageTemplate(usageTemplate)
	return cmd
}

// describedColumns are all, in order.
func describedColumns() []described {
	var all []described
	for _, c := range column.All {
		all = append(all, described{c.Name, c.Unit, output.ShownBy(c), c.Source, c.Help})
	}
	return all
}

func writeColumnsJSON(out io.Writer) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for _, c := range describedColumns() {
		if err := encoder.Encode(c); err != nil {
			return err
		}
	}
	return nil
}

// leastMeaning is the room, in characters, below which a meaning has none behind
// the other cells; then it stands below them, behind belowIndent characters.
const leastMeaning, belowIndent = 30, 4

// writeColumns writes them as a table. The meanings, which stand last, are
// broken at the terminal's width; zero means that there is none.
func writeColumns(out io.Writer, width int) error {
	rows := [][]string{{"NAME", "UNIT", "IN", "SOURCE", "MEANING"}}
	for _, c := range describedColumns() {
		rows = append(rows, []string{c.Name, cmp.Or(c.Unit, "-"), strings.Join(c.In, ","), c.Source, c.Help})
	}
	var widths [4]int
	indent := 0
	for i := range widths {
		for _, row := range rows {
			widths[i] = max(widths[i], len(row[i]))
		}
		indent += widths[i] + 1
	}
	below := width > 0 && width-indent < leastMeaning
	if below {
		indent = belowIndent
	}
	margin := "\n" + strings.Repeat(" ", indent)
	var text strings.Builder
	for _, row := range rows {
		for i, w := range widths {
			fmt.Fprintf(&text, "%-*s ", w, row[i])
		}
		meaning := row[len(widths)]
		if width > 0 {
			meaning = strings.Join(wrapped(meaning, width-indent), margin)
		}
		if below {
			meaning = margin + meaning
		}
		text.WriteString(meaning + "\n")
	}
	_, err := io.WriteString(out, text.String())
	return err
}

// wrapped breaks a text into lines of so many characters, or of one word that is
// longer.
func wrapped(text string, width int) []string {
	var lines []string
	for _, word := range strings.Fields(text) {
		last := len(lines) - 1
		if last < 0 || len(lines[last])+1+len(word) > width {
			lines = append(lines, word)
			continue
		}
		lines[last] += " " + word
	}
	return lines
}
