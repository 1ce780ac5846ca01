package cli

import "tcpstates/internal/output"

// grouped is the format with connections one after the other, as --group asks.
func (f *transitionsFlags) grouped(format output.Format) (output.Format, error) {
	grouped, has := format.Grouped()
	switch {
	case format.Raw:
		return grouped, usagef("--group with -o %s: that tool shows transitions alone: use table or wide", format.Name)
	case !has:
		return grouped, usagef("--group with -o %s: a program groups its lines itself, by sock: use table or wide", format.Name)
	case f.raw:
		return grouped, usagef("--group with --raw: what the tracepoint says alone tells of no connection's end: leave out one of them")
	}
	return grouped, nil
}
