//go:build !linux

package probe

import (
	"errors"

	"github.com/cilium/ebpf"
)

// Nothing is traced here, and Open says so before any of these is called.

func isTracefs(string) bool { return false }
func mountTracefs() error   { return errors.ErrUnsupported }
func memory() uint64        { return 0 }
func awaitPrograms()        {}

func ownPIDNamespace() (uint32, error) { return 0, errors.ErrUnsupported }

func openRing(*ebpf.Map, *Options) (transport, error) { return nil, errors.ErrUnsupported }
