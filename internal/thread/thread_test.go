package thread

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRun(t *testing.T) {
	broken := errors.New("broken")
	before := netns(t, "/proc/self/ns/net")
	var runs sync.WaitGroup
	for range 50 {
		runs.Go(func() {
			err := Run(func() error {
				if unix.Gettid() == unix.Getpid() {
					t.Error("runs on the main thread")
				}
				if os.Geteuid() == 0 {
					if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
						t.Errorf("unshare: %v", err)
					}
				}
				return broken
			})
			if !errors.Is(err, broken) {
				t.Errorf("got %v", err)
			}
			if after := netns(t, "/proc/thread-self/ns/net"); after != before {
				t.Errorf("the namespace of others is %s, was %s", after, before)
			}
		})
	}
	runs.Wait()
	if after := netns(t, "/proc/self/ns/net"); after != before {
		t.Errorf("the process's namespace is %s, was %s", after, before)
	}
}

func TestGoexitEndsTheRun(t *testing.T) {
	if err := Run(func() error { runtime.Goexit(); return nil }); err != nil {
		t.Errorf("got %v", err)
	}
}

func netns(t *testing.T, path string) string {
	t.Helper()
	name, err := os.Readlink(path)
	if err != nil {
		t.Error(err)
	}
	return name
}
