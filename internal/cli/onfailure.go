package cli

import (
	"errors"
	"io/fs"
	"os"

	"tcpstates/internal/record"
)

// ringOnFailure has room for some millions of events.
const ringOnFailure = 64 << 20

// recorderOnFailure is the recorder that the flags ask for in case of a failure; nil if
// they do not.
func (f *liveFlags) recorderOnFailure(a *app) *recorder {
	if f.onFailure == "" {
		return nil
	}
	return &recorder{app: a, path: f.onFailure, ring: record.NewRing(ringOnFailure), onVerdict: true}
}

// checkOnFailure refuses what is no file.
func (f *liveFlags) checkOnFailure() error {
	if f.onFailure == "-" {
		return usagef("--record-on-failure -: a recording that is kept is in a file: name one")
	}
	return nil
}

// keepsFailure tells whether the recorder writes at the end alone, into a file, if
// something is not as expected.
func (r *recorder) keepsFailure() bool { return r != nil && r.onVerdict }

// heed has a recorder in case of a failure keep what it has if something is not as
// expected.
func (r *recorder) heed(v *verdict) {
	if r.keepsFailure() && v != nil && v.err != nil {
		r.failed = ktime()
	}
}

// openKept opens the file, while the process may, and leaves what is in it until there
// is something to keep.
func (r *recorder) openKept() error {
	file, err := os.OpenFile(r.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if r.made = err == nil; errors.Is(err, fs.ErrExist) {
		file, err = os.OpenFile(r.path, os.O_WRONLY, 0)
	}
	if err != nil {
		return r.failing(err)
	}
	r.file = file
	return nil
}

// unmake removes the file that was made and never written, unless another is in its
// place. It may have to stay, where the directory does not let it go.
func (r *recorder) unmake() {
	mine, err := r.file.(*os.File).Stat()
	if err != nil {
		return
	}
	if there, err := os.Lstat(r.path); err == nil && os.SameFile(mine, there) {
		_ = os.Remove(r.path)
	}
}
