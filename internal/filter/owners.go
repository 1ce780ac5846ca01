package filter

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"tcpstates/internal/event"
)

// numberTest looks for numbers.
type numberTest struct {
	numbers []uint32
	value   func(e *event.Event) (n uint32, known bool)
	tree    *tree // of processes; nil: the numbers alone
}

func (t *numberTest) of(e *event.Event) (is, known bool) {
	n, known := t.value(e)
	if !known {
		return false, false
	}
	if t.tree != nil {
		return t.tree.has(n), true
	}
	return contains(t.numbers, n), true
}

func contains(numbers []uint32, n uint32) bool {
	for _, one := range numbers {
		if one == n {
			return true
		}
	}
	return false
}

// parseNumber reads a number from least on.
func parseNumber(word string, least uint64) (uint32, error) {
	n, err := strconv.ParseUint(word, 10, 32)
	if err != nil || n < least {
		return 0, fmt.Errorf("%q is no such number", word)
	}
	return uint32(n), nil
}

// numbersBy parses words to numbers of the events.
func numbersBy(read func(word string, env Env) (uint32, error), value func(*event.Event) (uint32, bool)) func([]string, Env) (test, error) {
	return func(words []string, env Env) (test, error) {
		t := &numberTest{value: value}
		for _, word := range words {
			n, err := read(word, env)
			if err != nil {
				return nil, err
			}
			t.numbers = append(t.numbers, n)
		}
		return t, nil
	}
}

func readPID(word string, _ Env) (uint32, error) { return parseNumber(word, 1) }

func readUID(word string, env Env) (uint32, error) {
	if n, err := parseNumber(word, 0); err == nil {
		return n, nil
	}
	if env.UID != nil {
		if n, err := env.UID(word); err == nil {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%q is no user", word)
}

func readNetns(word string, env Env) (uint32, error) {
	if n, err := parseNumber(word, 1); err == nil {
		return n, nil
	}
	if env.Netns != nil {
		if n, err := env.Netns(word); err == nil {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%q is no network namespace", word)
}

func pidOf(e *event.Event) (uint32, bool)   { return e.Owner.PID, e.Owner.PID != 0 }
func uidOf(e *event.Event) (uint32, bool)   { return e.UID, !e.UIDUnknown }
func netnsOf(e *event.Event) (uint32, bool) { return e.Netns, e.Netns != 0 }

func lowerPIDs(t test, exclude bool, l *Lowered) bool {
	return claim(&l.PIDs, NumberRule{t.(*numberTest).numbers, exclude})
}

func lowerUIDs(t test, exclude bool, l *Lowered) bool {
	return claim(&l.UIDs, NumberRule{t.(*numberTest).numbers, exclude})
}

func lowerNetns(t test, exclude bool, l *Lowered) bool {
	return claim(&l.Netns, NumberRule{t.(*numberTest).numbers, exclude})
}

// commTest looks for names of processes.
type commTest []glob

func parseComms(words []string, _ Env) (test, error) {
	var t commTest
	for _, word := range words {
		g, err := parseGlob(word)
		if err != nil {
			return nil, err
		}
		if longest := len(event.Comm{}) - 1; g.plain && len(word) > longest {
			g.pattern = word[:longest] // as the kernel does
		}
		t = append(t, g)
	}
	return t, nil
}

func (t commTest) of(e *event.Event) (is, known bool) {
	if e.Owner.PID == 0 {
		return false, false
	}
	name := e.Owner.Comm[:]
	if end := bytes.IndexByte(name, 0); end >= 0 {
		name = name[:end]
	}
	for _, g := range t {
		if g.has(string(name)) {
			return true, true
		}
	}
	return false, true
}

// placeTest looks for words at the place where the owner runs.
type placeTest struct {
	value func(*event.Place) string
	has   func(value string) bool
}

func (t placeTest) of(e *event.Event) (is, known bool) {
	if e.Owner.Place == nil || e.Owner.Place.Cgroup == "" {
		return false, false
	}
	return t.has(t.value(e.Owner.Place)), true
}

// cgroupMount is where the hierarchy is by custom (cgroups(7)).
const cgroupMount = "/sys/fs/cgroup"

// parseCgroups reads paths, which stand for all below them, too.
func parseCgroups(words []string, _ Env) (test, error) {
	var all []string
	for _, word := range words {
		p := strings.TrimRight(strings.TrimPrefix(word, cgroupMount), "/")
		if p != "" && p[0] != '/' {
			p = "/" + p
		}
		all = append(all, p)
	}
	return placeTest{func(p *event.Place) string { return p.Cgroup }, func(at string) bool {
		for _, p := range all {
			if rest, below := strings.CutPrefix(at, p); below && (rest == "" || rest[0] == '/') {
				return true
			}
		}
		return false
	}}, nil
}

func parseContainers(words []string, _ Env) (test, error) {
	return placeTest{func(p *event.Place) string { return p.Container }, func(id string) bool {
		for _, word := range words {
			if id != "" && strings.HasPrefix(id, word) {
				return true
			}
		}
		return false
	}}, nil
}

// parseUnits reads patterns of systemd's units; one without a type is a service, as
// for systemctl.
func parseUnits(words []string, _ Env) (test, error) {
	var all []glob
	for _, word := range words {
		g, err := parseGlob(word)
		if err != nil {
			return nil, err
		}
		if g.plain && !strings.Contains(word, ".") {
			g.pattern += ".service"
		}
		all = append(all, g)
	}
	return placeTest{func(p *event.Place) string { return p.Unit }, func(unit string) bool {
		for _, g := range all {
			if unit != "" && g.has(unit) {
				return true
			}
		}
		return false
	}}, nil
}
