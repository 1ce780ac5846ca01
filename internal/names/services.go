package names

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// ServicesFile is where the system has the names of ports (services(5)).
const ServicesFile = "/etc/services"

// Services are the names of ports.
type Services struct {
	tcp, udp map[uint16]string
}

// maxServices bounds the file that is read; Debian's has 12 KiB, and one with
// all that IANA has assigned some 700.
const maxServices = 4 << 20

// maxServiceName is how long a name can be that is taken; those that IANA
// assigns have 15 characters at most (RFC 6335, 5.1).
const maxServiceName = 32

// ReadServices reads a file of services. That there is none, or that it is too
// big for one, is an error.
func ReadServices(path string) (*Services, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text := &io.LimitedReader{R: file, N: maxServices + 1}
	services, err := parseServices(text)
	if err == nil && text.N == 0 {
		err = fmt.Errorf("%s has more than %d MiB", path, maxServices>>20)
	}
	return services, err
}

// Name is the name of a TCP port, or of a UDP one; empty if it has none.
func (s *Services) Name(port uint16, datagram bool) string {
	if datagram {
		return s.udp[port]
	}
	return s.tcp[port]
}

// parseServices reads lines such as "https 443/tcp alias # comment". As
// getservbyport(3) it passes over those that are none, and the first name of a
// port counts.
func parseServices(text io.Reader) (*Services, error) {
	s := &Services{tcp: map[uint16]string{}, udp: map[uint16]string{}}
	lines := bufio.NewScanner(text)
	lines.Buffer(nil, maxServices+1)
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		if fields := strings.Fields(line); len(fields) >= 2 {
			s.add(fields[0], fields[1])
		}
	}
	return s, lines.Err()
}

// add takes a name and what it is of: 443/tcp.
func (s *Services) add(name, of string) {
	number, protocol, _ := strings.Cut(of, "/")
	port, err := strconv.ParseUint(number, 10, 16)
	if err != nil || port == 0 || !isServiceName(name) {
		return
	}
	names := map[string]map[uint16]string{"tcp": s.tcp, "udp": s.udp}[protocol]
	if _, taken := names[uint16(port)]; names != nil && !taken {
		names[uint16(port)] = name
	}
}

// isServiceName tells whether a name can stand for a port: it is printable, and
// no number, which would be taken for another port.
func isServiceName(name string) bool {
	if len(name) > maxServiceName || strings.Trim(name, "0123456789") == "" {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == '\\' })
}
