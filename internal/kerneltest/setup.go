package kerneltest

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Filter replaces the packet filter of the namespace (nft(8)): the rules see
// each packet that is sent. Without rules all pass.
func (ns *Netns) Filter(t testing.TB, rules ...string) {
	t.Helper()
	text := "flush ruleset\ntable inet test {\nchain out { type filter hook output priority 0;\n" +
		strings.Join(rules, "\n") + "\n}\n}\n"
	ns.Run(t, text, "nft", "-f", "-")
}

// Run runs a command in the namespace, with the text as its input.
func (ns *Netns) Run(t testing.TB, input string, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(input)
	var out []byte
	var err error
	ns.Do(t, func() { out, err = cmd.CombinedOutput() })
	if err != nil {
		t.Errorf("%s: %v: %s", cmd, err, out)
	}
}

// Sysctl sets a setting of the namespace, by its path below /proc/sys.
func (ns *Netns) Sysctl(t testing.TB, name, value string) {
	t.Helper()
	ns.Do(t, func() {
		if err := os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0); err != nil {
			t.Errorf("set %s: %v", name, err)
		}
	})
}

// SetOption sets an option of a TCP socket, by its number in tcp(7).
func SetOption(t testing.TB, c *net.TCPConn, option, value int) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err == nil {
		var failed error
		err = raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, option, value) })
		if err == nil {
			err = failed
		}
	}
	if err != nil {
		t.Errorf("set a socket's option: %v", err)
	}
}
