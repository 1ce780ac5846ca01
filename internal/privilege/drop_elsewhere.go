//go:build !linux

package privilege

import "errors"

// Drop fails: there are no capabilities here.
func Drop(Needs) (Report, error) { return Report{}, errors.ErrUnsupported }

// Become fails: there are no capabilities to keep here.
func (u User) Become() error { return errors.ErrUnsupported }
