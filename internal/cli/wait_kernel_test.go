package cli

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"tcpstates/internal/kerneltest"
)

// TestWaitForAServer waits for a server that is not there yet, and again when it is.
func TestWaitForAServer(t *testing.T) {
	ns := kerneltest.NewNetns(t)
	args := []string{"wait", "--state", "listen", "-L", port, "--netns", strconv.Itoa(int(ns.Inode)), "--timeout", "1m"}
	out := outputFile(t)
	waits := startLive(t, out, args...)
	ns.Do(t, func() {
		l := kerneltest.Listen(t, "tcp4", "127.0.0.1:"+port)
		defer l.Close()
		if err := waits.Wait(); err != nil {
			t.Errorf("it waits on: %v: %s", err, &waits.stderr)
		}
		again := command(t, args...)
		again.Stdout = out
		if err := again.Run(); err != nil {
			t.Errorf("what is there is waited for: %v", err)
		}
	})
	shown, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	owner := " " + strconv.Itoa(os.Getpid()) + " "
	if text := string(shown); strings.Count(text, "LISTEN") != 2 || knowsSockets(t) && strings.Count(text, owner) != 2 {
		t.Errorf("it shows\n%swant the socket of %s twice", text, owner)
	}
}
