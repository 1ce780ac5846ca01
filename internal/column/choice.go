package column

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/agnivade/levenshtein"
)

// Choice is which columns are wanted: these and no others, or what there is by
// default, with some and without others.
type Choice struct {
	words []word
	edits bool // the words add and remove
}

// word is one column of a choice.
type word struct {
	name   string
	remove bool
}

// ParseChoice reads names with commas between: "time,pid,comm" for these in
// this order, "+container,-sock" to add and to remove. A name that All does not
// have, one given twice, and names with a sign beside others without are errors.
func ParseChoice(list string) (*Choice, error) {
	choice := &Choice{}
	for i, text := range strings.Split(list, ",") {
		name := strings.TrimLeft(text, "+-")
		sign := text[:len(text)-len(name)]
		switch {
		case name == "" || len(sign) > 1:
			return nil, fmt.Errorf("%s is no name of a column", strconv.Quote(text))
		case !Has(All, name):
			return nil, unknown(name)
		case slices.ContainsFunc(choice.words, func(w word) bool { return w.name == name }):
			return nil, fmt.Errorf("%s is there twice", name)
		case i > 0 && choice.edits != (sign != ""):
			return nil, errors.New("some names have a sign and others have none: " +
				"with + and - before all of them they change the columns that are there by default, without they replace them")
		}
		choice.edits = sign != ""
		choice.words = append(choice.words, word{name: name, remove: sign == "-"})
	}
	return choice, nil
}

// unknown is the error for a name that no column has.
func unknown(name string) error {
	text := strconv.Quote(name) + " is no column"
	if near := nearest(name); len(near) > 0 {
		text += ", " + strings.Join(near, " or ") + " is"
	}
	return errors.New(text)
}

// nearest are the names, three at most, that might have been meant.
func nearest(name string) []string {
	type candidate struct {
		name     string
		distance int
	}
	var candidates []candidate
	for _, c := range All {
		distance := levenshtein.ComputeDistance(name, c.Name)
		if distance <= 1+len(name)/4 || len(name) > 2 && strings.Contains(c.Name, name) {
			candidates = append(candidates, candidate{c.Name, distance})
		}
	}
	slices.SortStableFunc(candidates, func(a, b candidate) int { return cmp.Compare(a.distance, b.distance) })
	var names []string
	for _, c := range candidates[:min(len(candidates), 3)] {
		names = append(names, c.name)
	}
	return names
}

// Names are the columns that are wanted by name, in order; not those to remove.
func (c *Choice) Names() []string {
	var names []string
	for _, w := range c.words {
		if !w.remove {
			names = append(names, w.name)
		}
	}
	return names
}

// Removes tells whether the column of the name is to go.
func (c *Choice) Removes(name string) bool {
	return slices.Contains(c.words, word{name: name, remove: true})
}

// Replaces tells whether the names stand alone, whatever is there by default.
func (c *Choice) Replaces() bool { return !c.edits }

// Of makes the choice from the columns that are there by default and, for names
// that are not among those, from all that may be. What it adds stands last, but
// for a note. No table may drop what was asked for by name, unless it is the
// note, which then stands in a line of its own. A name that is in neither list,
// one to add that is there and one to remove that is not are errors, and so is
// a choice that leaves nothing.
func (c *Choice) Of(standard, all []*Column) ([]*Column, error) {
	var chosen []*Column
	if c.edits {
		chosen = slices.Clone(standard)
	}
	for _, w := range c.words {
		at := Find(chosen, w.name)
		switch {
		case w.remove && at < 0:
			return nil, fmt.Errorf("-%s: it is not among the columns", w.name)
		case w.remove:
			chosen = slices.Delete(chosen, at, at+1)
		case at >= 0:
			return nil, fmt.Errorf("+%s: it is among the columns already", w.name)
		default:
			wanted := look(w.name, standard, all)
			if wanted == nil {
				return nil, fmt.Errorf("%s: there is no such column here", w.name)
			}
			chosen = slices.Insert(chosen, c.end(chosen), wanted)
		}
	}
	if len(chosen) == 0 {
		return nil, errors.New("no column is left")
	}
	return chosen, nil
}

// end is where the next column goes.
func (c *Choice) end(chosen []*Column) int {
	last := len(chosen) - 1
	if c.edits && last >= 0 && chosen[last].Name == Why.Name {
		return last
	}
	return last + 1
}

// look finds a column in the first list that has it, and makes it one that
// stays; nil if none has.
func look(name string, lists ...[]*Column) *Column {
	for _, list := range lists {
		if i := Find(list, name); i >= 0 {
			c := *list[i]
			if name != Why.Name {
				c.Drop = 0
			}
			return &c
		}
	}
	return nil
}
