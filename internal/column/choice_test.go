package column

import (
	"strings"
	"testing"
)

func TestParseChoice(t *testing.T) {
	for _, test := range []struct {
		list, standard string
		want           string // or, with a !, the error
	}{
		{"time,pid,comm", "time sock", "time pid comm"},
		{"comm", "time sock", "comm"},
		{"+container,-sock", "time sock comm", "time comm container"},
		{"+container,+unit", "time sock note", "time sock container unit note"},
		{"-note", "time note", "time"},
		{"note,time", "time note", "note time"},
		{"", "", `!"" is no name of a column`},
		{"time,", "", `!"" is no name of a column`},
		{"+", "", `!"+" is no name of a column`},
		{"++time", "", `!"++time" is no name of a column`},
		{"TIME", "", `!"TIME" is no column`},
		{"tiem", "", `!"tiem" is no column, time is`},
		{"addr", "", `!"addr" is no column, laddr or raddr or skaddr is`},
		{"retransmit", "", `!"retransmit" is no column, retransmits or syn_retransmits is`},
		{"\x1b[2J", "", `!"\x1b[2J" is no column`},
		{"time,time", "", "!time is there twice"},
		{"+time,-time", "", "!time is there twice"},
		{"+time,pid", "", "!some names have a sign and others have none: with + and - before all of them they change the columns that are there by default, without they replace them"},
		{"time,-pid", "", "!some names have a sign and others have none: with + and - before all of them they change the columns that are there by default, without they replace them"},
		{"+time", "time", "!+time: it is among the columns already"},
		{"-pid", "time", "!-pid: it is not among the columns"},
		{"-time", "time", "!no column is left"},
	} {
		choice, err := ParseChoice(test.list)
		var chosen []*Column
		if err == nil {
			chosen, err = choice.Of(listed(test.standard), All)
		}
		got := names(chosen)
		if err != nil {
			got = "!" + err.Error()
		}
		if got != test.want {
			t.Errorf("%q: got %s, want %s", test.list, got, test.want)
		}
	}
}

// listed are columns by their names.
func listed(names string) []*Column {
	var columns []*Column
	for _, name := range strings.Fields(names) {
		columns = append(columns, All[Find(All, name)])
	}
	return columns
}

// TestChoiceKeepsWhatWasTuned: a format's own widths hold, and Drop goes.
func TestChoiceKeepsWhatWasTuned(t *testing.T) {
	wide := PID
	wide.Width = 33
	choice, err := ParseChoice("pid,note")
	if err != nil {
		t.Fatal(err)
	}
	chosen, err := choice.Of([]*Column{&wide}, All)
	if err != nil || chosen[0].Width != 33 || chosen[0].Drop != 0 || chosen[1].Drop == 0 {
		t.Errorf("got %+v and %v", chosen, err)
	}
	if PID.Drop == 0 {
		t.Error("the column itself was changed")
	}
}

func TestEveryColumnIsDescribed(t *testing.T) {
	headers := map[string]string{}
	for _, c := range All {
		if c.Name == "" || c.Header == "" || c.Width < 1 || c.Source == "" || c.Help == "" || c.Data == nil {
			t.Errorf("%s lacks something: %+v", c.Name, c)
		}
		if All[Find(All, c.Name)] != c {
			t.Errorf("there are two %s", c.Name)
		}
		if other, taken := headers[c.Header]; taken {
			t.Errorf("%s and %s have the same header", other, c.Name)
		}
		headers[c.Header] = c.Name
		if strings.HasSuffix(c.Name, "_ms") != (c.Unit == "ms") && c != &MS && c != &MSMin {
			t.Errorf("%s has the unit %q", c.Name, c.Unit)
		}
	}
}

func FuzzParseChoice(f *testing.F) {
	for _, list := range []string{"time,pid", "+container,-sock", "-note", "++", ",", "+time,pid", "tiem"} {
		f.Add(list)
	}
	f.Fuzz(func(t *testing.T, list string) {
		choice, err := ParseChoice(list)
		if err != nil {
			return
		}
		standard := live()
		chosen, err := choice.Of(standard, All)
		if err != nil {
			return
		}
		if names(standard) != names(live()) {
			t.Fatalf("%q changed the columns by default", list)
		}
		seen := map[string]bool{}
		for _, c := range chosen {
			if seen[c.Name] || !Has(All, c.Name) || choice.Removes(c.Name) {
				t.Fatalf("%q chose %s", list, names(chosen))
			}
			seen[c.Name] = true
		}
		for _, name := range choice.Names() {
			if !seen[name] {
				t.Fatalf("%q lacks %s", list, name)
			}
		}
	})
}
