package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"tcpstates/internal/cgroup"
	"tcpstates/internal/event"
	"tcpstates/internal/feature"
	"tcpstates/internal/filter"
	"tcpstates/internal/output"
	"tcpstates/internal/snapshot"
)

// netns is a flag that takes a network namespace.
type netns struct {
	word  string
	path  string // empty: only the inode is known
	inode uint64 // zero: any
}

// Set implements pflag.Value.
func (n *netns) Set(word string) error {
	if inode, err := strconv.ParseUint(word, 10, 32); err == nil && inode > 0 {
		n.word, n.path, n.inode = word, "", inode
		return nil
	}
	path := word
	if word == "self" {
		path = "/proc/self/ns/net"
	}
	inode, err := netnsInode(path)
	if err != nil {
		return fmt.Errorf(`it takes "self", a path such as /run/netns/NAME or /proc/PID/ns/net, or an inode number`)
	}
	n.word, n.path, n.inode = word, path, inode
	return nil
}

// netnsInode is the inode number of a file that is a network namespace.
func netnsInode(path string) (uint64, error) {
	// A named pipe must not make it wait for a writer.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if !isNetns(f) {
		return 0, errors.New("no network namespace")
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, err
	}
	return st.Ino, nil
}

// String implements pflag.Value.
func (n *netns) String() string { return n.word }

// Type implements pflag.Value.
func (n *netns) Type() string { return "NETNS" }

// listFlags are the flags of list as they were given.
type listFlags struct {
	showFlags
	filterFlags
	listening bool
	udp       bool
	netns     netns
	pidns     bool
	from, at  string
	verbose   bool
}

func (f *listFlags) bind(flags *pflag.FlagSet) {
	f.showFlags.bind(flags)
	flags.BoolVarP(&f.listening, "listening", "l", false, "only listening sockets; of UDP those that are not connected")
	flags.BoolVarP(&f.udp, "udp", "u", false, "UDP sockets instead of TCP's")
	f.filterFlags.bind(flags, func(row *filter.Row) bool { return row.Listed })
	flags.Var(&f.netns, "netns", `only this network namespace: "self", a path or an inode number`)
	bindPIDNS(flags, &f.pidns)
	bindFrom(flags, &f.from)
	flags.StringVar(&f.at, "at", "", "with --from: the sockets at this `TIME`: 15:04:05, +1m30s after its beginning, RFC 3339; its end unless given")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "say on stderr what was left out, and why")
}

// filters are the sockets wanted.
func (f *listFlags) filters() (*filter.Set, error) {
	set, err := f.filterFlags.filters()
	if err != nil || !f.listening {
		return set, err
	}
	if set.Has("state") {
		return nil, usagef("-l with --state: -l is a state: leave out one of them")
	}
	state := event.Listen
	if f.udp {
		state = event.Close
	}
	return set, set.Add(filter.Find("state"), state.String(), filter.Env{})
}

// newList makes the command that lists sockets.
func (a *app) newList() *cobra.Command {
	flags := &listFlags{}
	cmd := &cobra.Command{
		Use:   "list [flags]",
		Short: "List the sockets that exist, with their owners",
		Long: `tcpstates list shows every TCP socket of every network namespace on this
machine: listening, open, half-open and in TIME_WAIT, with the process that owns
it. RECVQ and SENDQ are bytes; of a listening socket they are the connections
that wait to be accepted, and how many may. LEFT is how many seconds a TIME_WAIT
still lasts.`,
		Example: `  tcpstates list -l               who listens
  tcpstates list --state time-wait
  tcpstates list -D 5432 -o json  connections to a database
  tcpstates list -u               UDP sockets
  tcpstates list --from all.rec --at 12:30`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.list(cmd.Context(), flags, cmd.Flags().Changed("output"))
		},
	}
	cmd.Flags().SortFlags = false
	flags.bind(cmd.Flags())
	setFormats(cmd, func(f output.Format) bool { return f.HasAll })
	return cmd
}

// list lists the sockets once.
func (a *app) list(ctx context.Context, flags *listFlags, formatGiven bool) error {
	sockets, err := a.newSocketShow(ctx, &flags.showFlags, formatGiven, "list")
	if err != nil {
		return err
	}
	defer sockets.close()
	filters, err := flags.filters()
	if err != nil {
		return err
	}
	if err := flags.where.check(output.OfSockets); err != nil {
		return err
	}
	show := func(start event.Start, all []event.Event) ([]event.Event, error) {
		chosen, err := flags.choose(filters, all)
		if err != nil {
			return nil, err
		}
		return sockets.show(start, chosen)
	}
	if flags.from != "" {
		return a.listRecorded(ctx, flags, show)
	}
	if flags.at != "" {
		return usagef("--at without --from: what was can be told of a recording alone: give its FILE")
	}
	pidns, err := pidNamespace(flags.pidns)
	if err != nil {
		return err
	}
	if err := feature.Elsewhere(); err != nil {
		return err
	}
	listing, err := a.sockets(snapshot.ListOptions{UDP: flags.udp, Netns: flags.netns.inode, NetnsPath: flags.netns.path, PIDNamespace: pidns})
	if err != nil {
		return err
	}
	places := cgroup.NewResolver()
	defer places.Close()
	for i := range listing.Sockets {
		if o := &listing.Sockets[i].Owner; o.Source != event.SourceUnknown {
			o.Place = places.Place(o, 0)
		}
	}
	start := event.Start{Wall: a.clock.Now(), Version: version, Kernel: feature.KernelRelease(), Backend: "sock_diag, task_file iterator"}
	listed, err := show(start, listing.Sockets)
	if err != nil {
		return err
	}
	fmt.Fprintln(a.stderr, "tcpstates: "+countByState(listed))
	a.noteListing(flags, listing)
	return nil
}

// choose leaves those of the sockets that are wanted.
func (f *listFlags) choose(filters *filter.Set, sockets []event.Event) ([]event.Event, error) {
	var failed error
	sockets = slices.DeleteFunc(sockets, func(e event.Event) bool {
		if !filters.Match(&e) {
			return true
		}
		holds, err := f.where.holds(&e)
		failed = errors.Join(failed, err)
		return !holds
	})
	return sockets, failed
}

// noteListing tells what is missing.
func (a *app) noteListing(flags *listFlags, listing snapshot.Listing) {
	if listing.OwnersErr != nil {
		fmt.Fprintln(a.stderr, "tcpstates: the owners are known of those processes alone that /proc shows you: run as root for all")
	}
	if missing := a.missingForWalk(); missing != "" {
		fmt.Fprintf(a.stderr, "tcpstates: not all network namespaces may be looked into: run as root, or with %s\n", missing)
	}
	if !flags.verbose {
		return
	}
	if listing.OwnersErr != nil {
		fmt.Fprintf(a.stderr, "tcpstates: the owners come from /proc, as the kernel refused the walk over all files: %v\n", listing.OwnersErr)
	}
	fmt.Fprintf(a.stderr, "tcpstates: %d network namespaces vanished meanwhile, and %d processes or namespaces may not be looked into\n",
		listing.Vanished, listing.Refused)
}

// countByState counts sockets by state, in the order of the states' numbers.
func countByState(sockets []event.Event) string {
	var counts [16]int
	for i := range sockets {
		counts[sockets[i].NewState%16]++
	}
	text := fmt.Sprintf("%d sockets", len(sockets))
	separator := ": "
	for state, n := range counts {
		if n == 0 {
			continue
		}
		name := event.State(state).String()
		if len(sockets) > 0 && sockets[0].Datagram && event.State(state) == event.Close {
			name = "UNCONN"
		}
		text += separator + strconv.Itoa(n) + " " + name
		separator = ", "
	}
	return strings.TrimSuffix(text, ": ")
}
