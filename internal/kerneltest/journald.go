package kerneltest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Journald stands in for systemd-journald: it listens where a program in its
// sandbox finds it, and speaks the native protocol
// (systemd.io/JOURNAL_NATIVE_PROTOCOL).
type Journald struct {
	directory string // is /run/systemd in the sandbox
	conn      *net.UnixConn
	// Files counts the entries that came as a file.
	Files int
}

// journaldName is the environment variable that has the directory.
const journaldName = "KERNELTEST_JOURNALD"

// journalLimit is how long an entry may take to come.
const journalLimit = time.Minute

// StartJournald listens until the test ends.
func StartJournald(t testing.TB) *Journald {
	t.Helper()
	directory, err := os.MkdirTemp("", "journald-") // the path of a socket must be short (unix(7))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(directory) })
	j := &Journald{directory: directory}
	if err := os.Mkdir(filepath.Join(directory, "journal"), 0o755); err != nil {
		t.Fatal(err)
	}
	j.Listen(t)
	return j
}

// Listen makes the socket, anew after Close.
func (j *Journald) Listen(t testing.TB) {
	t.Helper()
	var err error
	j.conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: j.socket(), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(j.Close)
}

// Close goes away, with the socket.
func (j *Journald) Close() {
	j.conn.Close()
	os.Remove(j.socket())
}

func (j *Journald) socket() string { return filepath.Join(j.directory, "journal", "socket") }

// Sandbox makes the command find the socket at the one place where programs
// look for it.
func (j *Journald) Sandbox(cmd *exec.Cmd) {
	Sandbox(cmd, withJournald)
	cmd.Env = append(cmd.Env, journaldName+"="+j.directory)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
}

// enterJournald mounts the directory where systemd has its sockets.
func enterJournald() error {
	const systemd = "/run/systemd"
	return inOrder(
		func() error { return unix.Mount("tmpfs", "/run", "tmpfs", 0, "") },
		func() error { return os.Mkdir(systemd, 0o755) },
		func() error { return unix.Mount(os.Getenv(journaldName), systemd, "", unix.MS_BIND, "") },
	)
}

// Next waits for an entry and gives its fields.
func (j *Journald) Next(t testing.TB) map[string]string {
	t.Helper()
	if err := j.conn.SetReadDeadline(time.Now().Add(journalLimit)); err != nil {
		t.Fatal(err)
	}
	data, control := make([]byte, 1<<20), make([]byte, 64)
	n, controlled, _, _, err := j.conn.ReadMsgUnix(data, control)
	if err != nil {
		t.Fatalf("no entry comes: %v", err)
	}
	data = data[:n]
	if controlled > 0 {
		j.Files++
		if data, err = readGiven(control[:controlled]); err != nil {
			t.Fatal(err)
		}
	}
	fields, err := parseEntry(data)
	if err != nil {
		t.Fatalf("%v in %q", err, data)
	}
	return fields
}

// readGiven reads the file of which a descriptor was passed.
func readGiven(control []byte) ([]byte, error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil || len(messages) != 1 {
		return nil, fmt.Errorf("%d control messages, %w", len(messages), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, fmt.Errorf("%d descriptors, %w", len(fds), err)
	}
	file := os.NewFile(uintptr(fds[0]), "entry")
	defer file.Close()
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(file)
}

// parseEntry reads NAME=VALUE lines; a value with line feeds stands, after its
// length, in lines of its own.
func parseEntry(data []byte) (map[string]string, error) {
	fields := map[string]string{}
	for len(data) > 0 {
		line, rest, ended := bytes.Cut(data, []byte{'\n'})
		if !ended {
			return nil, fmt.Errorf("the line %q has no end", line)
		}
		name, value, plain := bytes.Cut(line, []byte{'='})
		if !plain {
			if len(rest) < 8 || uint64(len(rest)-8) <= binary.LittleEndian.Uint64(rest) {
				return nil, fmt.Errorf("the field %q is cut off", line)
			}
			end := 8 + binary.LittleEndian.Uint64(rest)
			value, rest = rest[8:end], rest[end+1:]
		}
		if _, twice := fields[string(name)]; twice {
			return nil, fmt.Errorf("the field %s comes twice", name)
		}
		fields[string(name)], data = string(value), rest
	}
	return fields, nil
}
