package kerneltest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// obey does one thing: it connects to an address, gets a page from one, accepts a connection at the
// listener that it was given and answers what comes with the same, or at one that it opens at an
// address, takes a file that is sent through the socket that it was given, or connects and sends the
// connection through that; or it forks processes that connect: two hundred, or a daemon.
func obey(verb, address string) error {
	switch verb {
	case "connect":
		c, err := net.Dial("tcp", address)
		held = append(held, c)
		return err
	case "serve":
		l, err := net.FileListener(os.NewFile(givenFile, "listener"))
		if err != nil {
			return err
		}
		return serveOne(l)
	case "listen":
		l, err := net.Listen("tcp4", address)
		if err != nil {
			return err
		}
		return serveOne(l)
	case "get":
		return getPage(address)
	case "receive":
		oob := make([]byte, unix.CmsgSpace(4))
		_, n, _, _, err := unix.Recvmsg(givenFile, make([]byte, 1), oob, unix.MSG_CMSG_CLOEXEC)
		if err != nil {
			return err
		}
		messages, err := unix.ParseSocketControlMessage(oob[:n])
		if err != nil {
			return err
		}
		fds, err := unix.ParseUnixRights(&messages[0])
		held = append(held, os.NewFile(uintptr(fds[0]), "received"))
		return err
	case "hand-over":
		return handOver(address)
	case "fork":
		_, err := ForkBriefly(Forked, address)
		return err
	case "become": // a program of one thread, by one that is not the first here, and end
		path, err := exec.LookPath("true")
		if err != nil {
			return err
		}
		return unix.Exec(path, []string{"true"}, nil)
	case "daemonize":
		return forkDaemon(address)
	}
	return fmt.Errorf("%q is unknown", verb)
}

// Forked is how many processes a helper forks at once.
const Forked = 200

// serveOne accepts a connection and answers its first line with the same.
func serveOne(l net.Listener) error {
	held = append(held, l)
	c, err := l.Accept()
	if err != nil {
		return err
	}
	held = append(held, c)
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return err
	}
	_, err = io.WriteString(c, line)
	return err
}

// handOver connects to the address, sends the connection through the given socket, and
// has it no more.
func handOver(address string) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	f, err := c.(*net.TCPConn).File()
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Sendmsg(givenFile, []byte{0}, unix.UnixRights(int(f.Fd())), nil, 0)
}

// givenFile is the descriptor of the file that a helper was started with.
const givenFile = 3

var held []io.Closer
