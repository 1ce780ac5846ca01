package kerneltest

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
)

// Load asks a web server in the namespace for so many pages, each through a
// connection of its own, from a thread a CPU.
func Load(t testing.TB, ns *Netns, address string, pages int) {
	t.Helper()
	var threads sync.WaitGroup
	for range runtime.NumCPU() {
		threads.Go(func() {
			ns.Do(t, func() {
				for range pages / runtime.NumCPU() {
					if err := getPage(address); err != nil {
						t.Errorf("get a page: %v", err)
						return
					}
				}
			})
		})
	}
	threads.Wait()
}

// getPage asks for a page and reads it to its end.
func getPage(address string) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET / HTTP/1.0\r\nHost: test\r\n\r\n"); err != nil {
		return err
	}
	answer, err := io.ReadAll(c)
	if err == nil && len(answer) < 12 {
		err = fmt.Errorf("an answer of %q", answer)
	}
	return err
}
