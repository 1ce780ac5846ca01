package snapshot

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"tcpstates/bpf"
	"tcpstates/internal/wire"
)

// minisocksProgram is the iterator over minisocks in bpf/snapshot.bpf.c.
const minisocksProgram = "minisocks"

// Minisocks lists the minisocks of network namespaces, time and again, in
// batches. It belongs to one goroutine at a time. The zero value is ready.
type Minisocks struct {
	objects *ebpf.Collection  // nil until they are needed
	paths   map[uint32]string // to the namespaces, as far as they still hold
	looked  bool              // for them, since Prepare
}

// Prepare comes before each batch of listings. The first time it puts the
// iterator into the kernel.
func (m *Minisocks) Prepare() error {
	m.looked = false
	if m.objects != nil {
		return nil
	}
	spec, err := bpf.LoadSnapshot()
	if err != nil {
		return fmt.Errorf("read the embedded programs: %w", err)
	}
	program := spec.Programs[minisocksProgram]
	spec.Programs = map[string]*ebpf.ProgramSpec{minisocksProgram: program}
	for name := range spec.Maps {
		if !strings.HasPrefix(name, ".") { // what other programs use
			delete(spec.Maps, name)
		}
	}
	if m.objects, err = load(spec, ebpf.CollectionOptions{}); err != nil {
		return fmt.Errorf("load the walk over the minisocks: %w", err)
	}
	return nil
}

// Close gives everything back to the kernel.
func (m *Minisocks) Close() {
	if m.objects != nil {
		m.objects.Close()
	}
}

// Space is what a network namespace tells beside its minisocks.
type Space struct {
	// Overflows is how many minisocks it had no room for, ever
	// (TCPTimeWaitOverflow).
	Overflows uint64
	// FinTimeout is how long FIN_WAIT2 may last without a process
	// (tcp_fin_timeout, tcp(7)).
	FinTimeout time.Duration
}

// ErrNoNamespace is the error for a network namespace that no process is in, and
// that ip netns has not named: it may be gone.
var ErrNoNamespace = errors.New("no process is in the network namespace")

// List calls found for each minisock of the network namespace with the inode
// number.
func (m *Minisocks) List(netns uint32, found func(wire.Minisock)) (s Space, err error) {
	err = m.in(netns, func() error {
		if s, err = readSpace(); err != nil {
			return err
		}
		return iterate(m.objects.Programs[minisocksProgram], wire.MinisockSize, func(record []byte) error {
			f, err := wire.DecodeMinisock(record)
			if err == nil {
				found(f)
			}
			return err
		})
	})
	return s, err
}

// Spaces reads what all network namespaces tell, by their inode numbers, as
// far as they may be entered.
func (m *Minisocks) Spaces() map[uint32]Space {
	m.look()
	all := map[uint32]Space{}
	for netns := range m.paths {
		_ = m.in(netns, func() error {
			s, err := readSpace()
			if err == nil {
				all[netns] = s
			}
			return err
		})
	}
	return all
}

// in runs f on a thread in the namespace.
func (m *Minisocks) in(netns uint32, f func() error) error {
	path, known := m.paths[netns]
	if inode, err := inodeOf(path); known && path != "" && (err != nil || inode != uint64(netns)) {
		delete(m.paths, netns)
		known = false
	}
	if !known && !m.looked {
		m.look()
	}
	if path, known = m.paths[netns]; !known {
		return ErrNoNamespace
	}
	err := inNamespace(path, f)
	var entering *enterError
	if errors.As(err, &entering) && errors.Is(err, unix.ENOENT) {
		return ErrNoNamespace
	}
	return err
}

// look finds the namespaces anew. It goes through all processes, and therefore
// is done once a batch at most.
func (m *Minisocks) look() {
	m.looked = true
	spaces, _ := namespaces()
	defer spaces.close()
	m.paths = map[uint32]string{}
	for _, ns := range spaces.all {
		m.paths[uint32(ns.inode)] = ns.path
	}
}

// readSpace reads what the thread's namespace tells.
func readSpace() (s Space, err error) {
	netstat, err := os.ReadFile("/proc/thread-self/net/netstat")
	if err != nil {
		return s, fmt.Errorf("read the counters of a network namespace: %w", err)
	}
	s.Overflows = counter(string(netstat), "TcpExt:", "TCPTimeWaitOverflow")
	timeout, err := os.ReadFile("/proc/sys/net/ipv4/tcp_fin_timeout")
	if err != nil {
		return s, fmt.Errorf("read how long FIN_WAIT2 may last: %w", err)
	}
	seconds, _ := strconv.Atoi(strings.TrimSpace(string(timeout)))
	s.FinTimeout = time.Duration(seconds) * time.Second
	return s, nil
}

// counter finds a value in pairs of lines, of which the first has the names
// (proc_pid_net(5)); zero if it is not there.
func counter(text, group, name string) uint64 {
	var names []string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0 || fields[0] != group:
		case names == nil:
			names = fields
		default:
			for i := range min(len(names), len(fields)) {
				if names[i] == name {
					value, _ := strconv.ParseUint(fields[i], 10, 64)
					return value
				}
			}
			return 0
		}
	}
	return 0
}
