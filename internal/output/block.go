package output

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"tcpstates/internal/column"
	"tcpstates/internal/event"
)

// putBlock writes what there is to say of a connection as a whole: a head line, the
// lines of its events, its states as a bar with their times, and why it ended, or
// instead of that what is said here.
func (g *group) putBlock(c *connection, e *event.Event, instead string) error {
	w := g.wrapped(append(g.lines, '\n'), "")
	g.appendHead(w, e)
	if life := column.MS.Text(nil, e, &g.state); len(life) > 0 {
		w.part(string(life) + " ms")
	}
	lines := append(w.end(), c.lines...)
	if left := c.count - maxLines; left > 0 {
		lines = strconv.AppendInt(append(lines, "  -- "...), int64(left), 10)
		lines = append(lines, " lines left out --\n"...)
	}
	lines = append(lines, c.end...)
	return g.putMarked(g.appendNoteOf(g.appendBar(lines, e, c.sequence()), e, instead), uint64(c.count), c.shown)
}

// appendHead appends who a connection belongs to, its ends and its role.
func (g *group) appendHead(w *wrapped, e *event.Event) {
	w.part(string(appendWho(nil, e)))
	w.part(g.named(e, e.Local, ""))
	if hasRemote(e) {
		host := ""
		if g.state.Names != nil {
			host = string(column.RName.Data(nil, e, &g.state))
		}
		w.word(arrowOf(e.Role) + " " + g.named(e, e.Remote, host))
	}
	if role := e.Role.String(); role != "" {
		w.part(role)
	}
}

// named is an end by its name, if it has one, and its port by that of the service.
func (g *group) named(e *event.Event, end netip.AddrPort, host string) string {
	port := ""
	if g.state.Services != nil && end.Port() != 0 {
		port = string(event.AppendText(nil, g.state.Services(end.Port(), e.Datagram)))
	}
	numbers := string(appendEnd(nil, end))
	colon := strings.LastIndexByte(numbers, ':')
	return cmp.Or(host, numbers[:colon]) + ":" + cmp.Or(port, numbers[colon+1:])
}

// shades are how a state stands in a bar: those that can follow one another differ.
// The first is that of the time in states that nobody has seen from end to end.
var shades = [...]string{
	0: "·", event.Listen: "█", event.SynSent: "░", event.SynRecv: "▒", event.NewSynRecv: "▒", event.Established: "█",
	event.FinWait1: "▓", event.FinWait2: "▒", event.Closing: "▒", event.TimeWait: "░",
	event.CloseWait: "▓", event.LastAck: "▒", event.Close: "░",
}

// inOrder are the states as a connection goes through them, each once at most (RFC
// 9293, 3.3.2).
var inOrder = []event.State{
	event.Listen, event.SynSent, event.NewSynRecv, event.SynRecv, event.Established, event.FinWait1, event.FinWait2,
	event.Closing, event.CloseWait, event.LastAck,
}

// sequence are the states in the order of a bar. Times that are not known lie before
// the trace, or where its beginning was seen as a rule in the end, with a minisock.
func (c *connection) sequence() []event.State {
	if c.before {
		return slices.Insert(slices.Clone(inOrder), 0, 0)
	}
	return append(slices.Clone(inOrder), 0)
}

// appendBar appends a connection's states as a bar to scale, and below it what they
// are; nothing if no time is known.
func (g *group) appendBar(dst []byte, e *event.Event, sequence []event.State) []byte {
	cells := lengths(&e.Times, g.room()-len(blockIndent))
	dst = append(dst, blockIndent...)
	start := len(dst)
	for _, s := range sequence {
		if cells[s] > 0 {
			dst = g.appendShade(dst, s, cells[s])
		}
	}
	if len(dst) == start {
		return dst[:start-len(blockIndent)]
	}
	w := g.wrapped(append(dst, '\n'), blockIndent)
	for _, s := range sequence {
		if cells[s] > 0 {
			w.shaded(string(g.appendShade(nil, s, 1)), nameOf(s)+" "+string(column.AppendMillis(nil, e.Times[s])))
		}
	}
	return w.end()
}

// nameOf is the state's name in a bar.
func nameOf(s event.State) string {
	if s == 0 {
		return "unknown"
	}
	return s.String()
}

// appendShade appends so many characters of a state's shade, in its colour.
func (g *group) appendShade(dst []byte, s event.State, cells int) []byte {
	text := strings.Repeat(shades[s], cells)
	if !g.options.Color || s == 0 {
		return append(dst, text...)
	}
	return append(append(append(dst, colorOfPhase[event.PhaseOf(s, s)]...), text...), colorOff...)
}

// lengths divides a bar of so many characters among the states by their times. One
// that has lasted at all has a character.
func lengths(times *[event.NewSynRecv + 1]time.Duration, room int) (cells [event.NewSynRecv + 1]int) {
	sum := 0.0 // which does not overflow
	longest, left := 0, room
	for _, d := range times {
		sum += float64(max(d, 0))
	}
	for s, d := range times {
		if d <= 0 {
			continue
		}
		cells[s] = max(1, int(float64(d)/sum*float64(room)))
		left -= cells[s]
		if d > times[longest] {
			longest = s
		}
	}
	if sum > 0 {
		cells[longest] = max(1, cells[longest]+left) // what rounding leaves
	}
	return cells
}

// appendNoteOf appends why the connection ended, or what is said instead.
func (g *group) appendNoteOf(dst []byte, e *event.Event, instead string) []byte {
	note := instead
	if note == "" {
		note = string(column.Why.Data(nil, e, &g.state))
	}
	failed := g.options.Color && instead == "" && e.End.Reason.IsFailure()
	w := g.wrapped(dst, blockIndent)
	if failed {
		w.dst = append(w.dst, colorOfPhase[event.PhaseFailed]...)
	}
	for word := range strings.FieldsSeq(note) {
		w.word(word)
	}
	if failed {
		w.dst = append(w.dst, colorOff...)
	}
	return w.end()
}

// blockIndent begins the lines of a block, but for its head.
const blockIndent = "  "

// pipeWidth is how wide a block is where there is no terminal.
const pipeWidth = 80

// room is how many characters a line of a block has.
func (g *group) room() int {
	if width := g.terminal(); width > 0 {
		return max(width, 2*len(blockIndent))
	}
	return pipeWidth
}

// wrapped is text that goes on in another line, indented, where there is no room for
// the next part of it.
type wrapped struct {
	dst   []byte
	width int
	used  int  // characters of the line
	begun bool // it has a part
}

// wrapped begins a text behind what its first line is indented by.
func (g *group) wrapped(dst []byte, indent string) *wrapped {
	return &wrapped{dst: append(dst, indent...), width: g.room(), used: len(indent)}
}

// part adds a part, two spaces behind the one before.
func (w *wrapped) part(text string) { w.add("  ", "", text) }

// word adds a part a space behind the one before.
func (w *wrapped) word(text string) { w.add(" ", "", text) }

// shaded adds a part behind its shade, which is a character and its colours.
func (w *wrapped) shaded(shade, text string) { w.add("  ", shade, text) }

func (w *wrapped) add(space, shade, text string) {
	chars := utf8.RuneCountInString(text)
	if shade != "" {
		chars += 2
	}
	switch {
	case !w.begun:
	case w.used+len(space)+chars > w.width:
		w.dst = append(append(w.dst, '\n'), blockIndent...)
		w.used = len(blockIndent)
	default:
		w.dst = append(w.dst, space...)
		w.used += len(space)
	}
	if shade != "" {
		w.dst = append(append(w.dst, shade...), ' ')
	}
	w.dst = append(w.dst, text...)
	w.used += chars
	w.begun = true
}

// end ends the line.
func (w *wrapped) end() []byte { return append(w.dst, '\n') }
