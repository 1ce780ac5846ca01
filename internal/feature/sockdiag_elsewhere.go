//go:build !linux

package feature

import "errors"

func trySockDiag() error { return errors.ErrUnsupported }
