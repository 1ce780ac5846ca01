package filter

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"tcpstates/internal/event"
)

// stateTest looks for states: state s is bit s.
type stateTest uint32

func parseStates(words []string, _ Env) (test, error) {
	var t stateTest
	for _, word := range words {
		state, known := event.ParseState(word)
		if !known {
			return nil, fmt.Errorf("%q is no state", word)
		}
		t |= 1 << state
	}
	return t, nil
}

func (t stateTest) of(e *event.Event) (is, known bool) {
	return t&(1<<e.OldState|1<<e.NewState) != 0, true
}

// transitionTest looks for transitions: 0 is any state.
type transitionTest [][2]event.State

func parseTransitions(words []string, _ Env) (test, error) {
	var t transitionTest
	for _, word := range words {
		from, to, found := strings.Cut(word, ">")
		if !found {
			return nil, fmt.Errorf("%q is no transition", word)
		}
		var pair [2]event.State
		for i, name := range []string{strings.TrimSuffix(strings.TrimSpace(from), "-"), to} {
			name = strings.TrimSpace(name)
			if name == "*" {
				continue
			}
			var known bool
			if pair[i], known = event.ParseState(name); !known {
				return nil, fmt.Errorf("%q is no state", name)
			}
		}
		t = append(t, pair)
	}
	return t, nil
}

func (t transitionTest) of(e *event.Event) (is, known bool) {
	if e.Kind != event.KindTransition {
		return false, false
	}
	for _, p := range t {
		if (p[0] == 0 || p[0] == e.OldState) && (p[1] == 0 || p[1] == e.NewState) {
			return true, true
		}
	}
	return false, true
}

// roleTest looks for roles: role r is bit r.
type roleTest uint8

func parseRoles(words []string, _ Env) (test, error) {
	var t roleTest
	for _, word := range words {
		role, known := byName[event.Role](word)
		if !known {
			return nil, fmt.Errorf("%q is no role", word)
		}
		t |= 1 << role
	}
	return t, nil
}

func (t roleTest) of(e *event.Event) (is, known bool) {
	return t&(1<<e.Role) != 0, e.Role != event.RoleUnknown
}

// reasonTest looks for reasons: reason r is bit r.
type reasonTest uint32

func parseReasons(words []string, _ Env) (test, error) {
	var t reasonTest
	for _, word := range words {
		reason, known := byName[event.Reason](word)
		if !known {
			return nil, fmt.Errorf("%q is no reason", word)
		}
		t |= 1 << reason
	}
	return t, nil
}

func (t reasonTest) of(e *event.Event) (is, known bool) {
	return t&(1<<e.End.Reason) != 0, e.End.Reason != event.ReasonNone
}

// byName finds one by its name, in any case, with dashes or underscores for spaces.
func byName[T event.Named](word string) (T, bool) {
	word = strings.NewReplacer("-", " ", "_", " ").Replace(strings.ToLower(word))
	for i, name := range event.Names[T]() {
		if name == word {
			return T(i + 1), true
		}
	}
	return 0, false
}

// leastTest looks for those that have lasted so long at least.
type leastTest time.Duration

func parseLeast(words []string, _ Env) (test, error) {
	ms, err := strconv.ParseFloat(words[0], 64)
	if err != nil || !(ms > 0 && ms < 1e12) {
		return nil, fmt.Errorf("%q is no number of milliseconds", words[0])
	}
	return leastTest(ms * float64(time.Millisecond)), nil
}

func (t leastTest) of(e *event.Event) (is, known bool) {
	lasted, known := e.AtLeast()
	return known && lasted >= time.Duration(t), known
}
