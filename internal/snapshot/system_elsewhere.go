//go:build !linux

package snapshot

import (
	"errors"

	"github.com/vishvananda/netlink"
)

// There are no network namespaces here, and no sock_diag.

func netnsOf(_, _ int) (fd int, err error)        { return -1, errors.ErrUnsupported }
func setNetns(int) error                          { return errors.ErrUnsupported }
func dump(uint8, bool) ([]*netlink.Socket, error) { return nil, errors.ErrUnsupported }
