package cli

import (
	"context"
	"fmt"
	"time"

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
