package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"tcpstates/internal/column"
	"tcpstates/internal/output"
)

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
	cmd.Annotations = map[string]string{FormatsAnnotation: "table\tcolumns to read\njson\tone object a line"}
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
			meaning = strings.Join(wrap(meaning, width-indent), margin)
		}
		if below {
			meaning = margin + meaning
		}
		text.WriteString(meaning + "\n")
	}
	_, err := io.WriteString(out, text.String())
	return err
}
