// Package snapshot finds the sockets that exist already.
package snapshot

import (
	"errors"
	"fmt"
	"io"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"tcpstates/bpf"
	"tcpstates/internal/thread"
	"tcpstates/internal/wire"
)

// Report says how complete a walk was.
type Report struct {
	// Sockets is how many sockets with a process were found.
	Sockets int
	// Vanished network namespaces were gone before they could be entered.
	Vanished int
	// Refused counts the processes, and network namespaces, that may not be
	// looked into for want of privilege; of the sockets there only those are
	// known that a process has open.
	Refused int
}

// Seed goes through the TCP sockets of all network namespaces and calls found
// for each that a process has open. In lives, which is a trace's socket
// storage, every socket without an entry gets one.
//
// It may run beside the trace: what the trace has learnt of a socket stays.
//
// pidNamespace is the inode number of the PID namespace whose process ids are
// told; zero means the machine's.
// types may have the kernel's type information already; nil: it is read.
func Seed(lives *ebpf.Map, pidNamespace uint32, types *btf.Cache, found func(wire.Found)) (Report, error) {
	spaces, refused := namespaces()
	defer spaces.close()
	report := Report{Refused: refused}
	err := report.walk(walkOptions{lives: lives, pidNamespace: pidNamespace, types: types}, spaces, found)
	return report, err
}

// walkOptions say what a walk is for.
type walkOptions struct {
	lives *ebpf.Map // to seed; nil: nothing is
	udp   bool      // whether UDP sockets are told of, too

	pidNamespace uint32     // see Seed
	types        *btf.Cache // see Seed
}

// walk calls found for each socket that a process has open, and adds the
// namespaces to spaces that nobody is in.
func (r *Report) walk(o walkOptions, spaces *spaces, found func(wire.Found)) error {
	spec, err := bpf.LoadSnapshot()
	if err != nil {
		return fmt.Errorf("read the embedded programs: %w", err)
	}
	err = errors.Join(
		spec.Variables["seeding"].Set(o.lives != nil),
		spec.Variables["with_udp"].Set(o.udp),
		spec.Variables["setting"].Set(bpf.SnapshotSettings{Pidns: o.pidNamespace}))
	if err != nil {
		return fmt.Errorf("set up the walk over the sockets: %w", err)
	}
	delete(spec.Programs, minisocksProgram)
	options := ebpf.CollectionOptions{Cache: o.types}
	if o.lives != nil {
		options.MapReplacements = map[string]*ebpf.Map{"lives": o.lives}
	}
	objects, err := load(spec, options)
	if err != nil {
		return fmt.Errorf("load the walk over the sockets: %w", err)
	}
	defer objects.Close()

	take := func(f wire.Found) {
		r.Sockets++
		spaces.addOf(f)
		found(f)
	}
	// Files first, as they know the owners, and namespaces that nobody is in.
	if err := iterateFound(objects.Programs["files"], take); err != nil {
		return err
	}
	for _, ns := range spaces.all {
		err := inNamespace(ns.path, func() error { return iterateFound(objects.Programs["sockets"], take) })
		if err := r.note(err); err != nil {
			return err
		}
	}
	return nil
}

// load makes maps and programs. Before Linux 5.11 maps count as locked memory,
// which has a limit: where it may not be lifted, making them tells.
func load(spec *ebpf.CollectionSpec, options ebpf.CollectionOptions) (*ebpf.Collection, error) {
	_ = rlimit.RemoveMemlock()
	return ebpf.NewCollectionWithOptions(spec, options)
}

// note counts a namespace that could not be entered, and returns other errors.
func (r *Report) note(err error) error {
	var entering *enterError
	if !errors.As(err, &entering) {
		return err
	}
	if errors.Is(err, unix.ENOENT) {
		r.Vanished++
	} else {
		r.Refused++
	}
	return nil
}

// iterateFound runs an iterator over sockets that are open.
func iterateFound(program *ebpf.Program, found func(wire.Found)) error {
	return iterate(program, wire.FoundSize, func(record []byte) error {
		f, err := wire.DecodeFound(record)
		if err == nil {
			found(f)
		}
		return err
	})
}

// iterate runs an iterator and hands on its records, all of one size.
func iterate(program *ebpf.Program, size int, take func(record []byte) error) error {
	iter, err := link.AttachIter(link.IterOptions{Program: program})
	if err != nil {
		return fmt.Errorf("attach the walk over the sockets: %w", err)
	}
	defer iter.Close()
	records, err := iter.Open()
	if err != nil {
		return fmt.Errorf("begin the walk over the sockets: %w", err)
	}
	defer records.Close()
	// Whole records: the kernel fills a read as far as it goes.
	buf := make([]byte, 1024*size)
	filled := 0
	for {
		n, err := records.Read(buf[filled:])
		filled += n
		whole := filled - filled%size
		for at := 0; at < whole; at += size {
			if err := take(buf[at : at+size]); err != nil {
				return err
			}
		}
		filled = copy(buf, buf[whole:filled])
		if errors.Is(err, io.EOF) {
			return nil
		}
		// After a million files without a socket the kernel pauses.
		if err != nil && !errors.Is(err, unix.EAGAIN) {
			return fmt.Errorf("walk over the sockets: %w", err)
		}
	}
}

// inNamespace runs f on a thread in the network namespace; in the process's
// own for an empty path.
func inNamespace(path string, f func() error) error {
	if path == "" {
		return f()
	}
	return thread.Run(func() error { return enter(path, f) })
}

func enter(path string, f func() error) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &enterError{err}
	}
	defer unix.Close(fd)
	if err := setNetns(fd); err != nil {
		return &enterError{err}
	}
	return f()
}

// enterError is why a namespace could not be entered, as opposed to what went
// wrong inside.
type enterError struct{ error }

func (e *enterError) Unwrap() error { return e.error }
