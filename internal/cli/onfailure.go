package cli

import "tcpstates/internal/record"

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

// heed has a recorder in case of a failure keep what it has if something is not as
// expected.
func (r *recorder) heed(v *verdict) {
	if r != nil && r.onVerdict && v != nil && v.err != nil {
		r.failed = ktime()
	}
}
