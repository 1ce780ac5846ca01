package event

import (
	"math"
	"testing"

	"golang.org/x/sys/unix"
)

// aliases are the kernel's names of errors that the C library, and x/sys with
// it, names differently.
var aliases = map[unix.Errno]string{unix.EOPNOTSUPP: "EOPNOTSUPP", unix.EUCLEAN: "EUCLEAN"}

func TestErrnoIsAsHere(t *testing.T) {
	for n := range unix.EHWPOISON + 1 {
		want := unix.ErrnoName(n)
		if alias, has := aliases[n]; has {
			want = alias
		}
		if got := Errno(n).Name(); got != want {
			t.Errorf("errno %d is %q, want %q", n, got, want)
		}
	}
	if got := Errno(math.MaxUint16).Name(); got != "" {
		t.Errorf("errno %d is %q, want none", math.MaxUint16, got)
	}
	for errno, want := range map[Errno]unix.Errno{
		EPIPE: unix.EPIPE, ENONET: unix.ENONET, ENETUNREACH: unix.ENETUNREACH,
		ECONNABORTED: unix.ECONNABORTED, ECONNRESET: unix.ECONNRESET, ETIMEDOUT: unix.ETIMEDOUT,
		ECONNREFUSED: unix.ECONNREFUSED, EHOSTDOWN: unix.EHOSTDOWN, EHOSTUNREACH: unix.EHOSTUNREACH,
	} {
		if unix.Errno(errno) != want {
			t.Errorf("%s is %d, want %d", errno.Name(), errno, int(want))
		}
	}
}

func TestSignalIsAsHere(t *testing.T) {
	for n := range unix.Signal(math.MaxUint8 + 1) {
		if got, want := Signal(n).Name(), unix.SignalName(n); got != want {
			t.Errorf("signal %d is %q, want %q", int(n), got, want)
		}
	}
}
