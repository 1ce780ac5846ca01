package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"tcpstates/internal/event"
	"tcpstates/internal/record"
)

// newConvert makes the command that writes a recording in another form.
func (a *app) newConvert() *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use:   "convert IN [OUT] [flags]",
		Short: "Write a recording as text or JSON, or either as a recording",
		Long: `tcpstates convert reads a recording in any of its forms and writes it in another.
All of them have the same events and fields: what the kernel reported. (What is
concluded from it, tcpstates replay -o json shows.) IN - is stdin, and OUT is
stdout unless given. What is damaged it leaves out, says so, and exits with 1.`,
		Example: `  tcpstates convert all.rec | less
  tcpstates convert --to json all.rec | jq 'select(.type == "lost")'
  tcpstates convert --to recording by-hand.txt by-hand.rec`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 || slices.Contains(args, "") {
				return usagef("tcpstates convert takes one file to read, and one to write: see tcpstates convert --help")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.convert(cmd.Context(), to, append(args, "-"))
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().StringVar(&to, "to", "text", "the `FORM` to write, see below")
	help := "\nForms (--to):\n"
	for _, form := range record.Forms {
		help += fmt.Sprintf("  %-9s %s\n", form.Name, form.Help)
	}
	cmd.SetUsageTemplate(usageTemplate + help)
	return cmd
}

// convert writes the first of the paths to the second.
func (a *app) convert(ctx context.Context, to string, paths []string) error {
	i := slices.IndexFunc(record.Forms, func(f record.Form) bool { return f.Name == to })
	if i < 0 {
		return usagef("--to %s: there is no such form: it takes %s", strconv.Quote(to), orList(formWords()))
	}
	if sameFile(paths[0], paths[1]) {
		return usagef("convert %s to itself: name another file to write", paths[0])
	}
	r, err := a.openReplay(ctx, paths[0])
	if err != nil {
		return err
	}
	defer r.Close()
	out, err := a.create(paths[1], to)
	if err != nil {
		return err
	}
	err = r.copyTo(out, record.Forms[i])
	if file, ok := out.(*os.File); ok && paths[1] != "-" {
		err = errors.Join(err, file.Close())
	}
	r.progress.clear()
	if err != nil {
		return err
	}
	return r.tell()
}

// sameFile tells whether two paths lead to one file, which is there.
func sameFile(a, b string) bool {
	one, errOfOne := os.Stat(a)
	other, errOfOther := os.Stat(b)
	return errOfOne == nil && errOfOther == nil && one.Mode().IsRegular() && os.SameFile(one, other)
}

// formWords are the names of the forms.
func formWords() (names []string) {
	for _, form := range record.Forms {
		names = append(names, form.Name)
	}
	return names
}

// create opens the file to write; - is stdout.
func (a *app) create(path, form string) (io.Writer, error) {
	if path != "-" {
		// Others need not see who talks to whom.
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return nil, fmt.Errorf("write the recording: %w", err)
		}
		return file, nil
	}
	if file, ok := a.stdout.(*os.File); ok && form == record.Forms[0].Name && isTerminal(file) {
		return nil, usagef("--to %s: that is nothing for a terminal: name a file to write, or pipe it somewhere", form)
	}
	return a.stdout, nil
}

// copyTo writes the recording in the form. A recording that is not whole has no end
// then, either.
func (r *replayed) copyTo(out io.Writer, form record.Form) error {
	sink, err := form.New(out, r.Start())
	for err == nil {
		var e event.Event
		if err = r.Read(&e); err == nil {
			err = sink.Write(&e)
		}
		if err == nil && r.waits && !r.Pending() {
			err = sink.Flush()
		}
	}
	switch {
	case !errors.Is(err, io.EOF):
		return err
	case r.ctx.Err() != nil:
		return errors.Join(sink.Flush(), errors.New("interrupted: what was written so far is cut off"))
	case r.Damage() != record.Damage{}:
		return sink.Flush()
	case r.Stop() != nil:
		return sink.Stop(*r.Stop())
	}
	return sink.Stop(record.Stop{Stop: r.account(0)})
}
