package output

import (
	"bytes"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-logfmt/logfmt"

	"tcpstates/internal/column"
	"tcpstates/internal/event"
)

// chosen are columns of every sort, with the states side by side.
const chosen = "note,pid,comm,container,raddr,state,oldstate,newstate,derived,reason"

// with puts columns into the options.
func with(format, columns string, o Options) Options {
	f, _ := Find(format)
	choice, err := column.ParseChoice(columns)
	if err == nil {
		o.Columns, err = f.Choose(choice, o)
	}
	if err != nil {
		panic(err)
	}
	return o
}

// named are options with names for some addresses and ports.
var named = Options{
	Names: func(addr netip.Addr) string {
		return map[netip.Addr]string{
			netip.MustParseAddr("10.4.204.72"): "web-17.a-rather-long-name.frontends.example.com",
			netip.MustParseAddr("127.0.0.1"):   "localhost",
			netip.MustParseAddr("10.0.0.2"):    "\x1b[2J\\evil",
		}[addr]
	},
	Services: func(port uint16, datagram bool) string {
		return map[uint16]string{443: "https", 53: map[bool]string{false: "domain", true: "domain-udp"}[datagram], 40000: "a-very-long-service-name"}[port]
	},
}

func narrow(o Options) Options {
	o.Width = func() int { return 80 }
	return o
}

func TestChooseRefuses(t *testing.T) {
	for _, test := range []struct {
		format, columns string
		options         Options
		want            string
	}{
		{"table", "time,recvq", Options{}, "recvq says nothing of what is shown here: it is a column of list"},
		{"table", "+oldstate", Options{Of: OfConns}, "oldstate says nothing of what is shown here: it is a column of trace"},
		{"csv", "reason", Options{Of: OfRaw}, "reason says nothing of what is shown here: it is a column of trace and conns"},
		{"table", "elapsed", Options{Of: OfSockets}, "elapsed says nothing of what is shown here: it is a column of trace and conns"},
		{"table", "+rname", Options{}, "rname: names are looked up with -N alone: give that too"},
		{"json", "lservice", Options{Names: named.Names}, "lservice: ports have names with --port-names alone: give that too"},
		{"table", "-recvq", Options{}, "-recvq: it is not among the columns"},
		{"table", "+pid", Options{}, "+pid: it is among the columns already"},
		{"json", "-type", Options{}, "-type: with -o json each record has its type, which tells a loss from the rest"},
		{"logfmt", "-type", Options{}, "-type: with -o logfmt each record has its type, which tells a loss from the rest"},
	} {
		f, _ := Find(test.format)
		choice, err := column.ParseChoice(test.columns)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Choose(choice, test.options); err == nil || err.Error() != test.want {
			t.Errorf("%s of %s: got %q, want %q", test.columns, test.format, err, test.want)
		}
	}
}

// TestWhatIsAskedForStays looks for each column in tables that are too narrow.
func TestWhatIsAskedForStays(t *testing.T) {
	const columns = "time,sock,pid,comm,laddr,lport,raddr,rport,oldstate,newstate,ms,role,rtt_ms,retransmits"
	for _, width := range []int{1, 20, 60, 80, 200} {
		o := with("table", columns, Options{Width: func() int { return width }})
		out, _ := render(t, "table", o)
		header, _, _ := strings.Cut(out, "\n")
		if n := len(strings.Fields(header)); n != len(o.Columns)+1 {
			t.Errorf("in %d characters: %d headers of %d columns and an arrow: %s", width, n, len(o.Columns), header)
		}
	}
	out, _ := render(t, "table", with("table", columns+",note", Options{Width: func() int { return 80 }}))
	if !strings.Contains(out, "\n        connect 252.5ms") {
		t.Errorf("a note without room is nowhere:\n%s", out)
	}
}

// TestEveryColumnIsShownSomewhere: each command's fields are columns of the
// list, each of the list is some command's, and each has a place in a table.
func TestEveryColumnIsShownSomewhere(t *testing.T) {
	for _, s := range subjects {
		for _, c := range everyColumn(s.of) {
			if !slices.Contains(column.All, c) {
				t.Errorf("%s shows %s, which the list of columns does not have", s.word, c.Name)
			}
		}
	}
	for _, c := range column.All {
		words := ShownBy(c)
		if len(words) == 0 {
			t.Errorf("nobody shows %s", c.Name)
		}
		for _, s := range subjects {
			if !slices.Contains(words, s.word) {
				continue
			}
			o := Options{Of: s.of, Names: named.Names, Services: named.Services}
			if out, _ := render(t, "table", with("table", c.Name, o)); !strings.HasPrefix(out, c.Header+"\n") {
				t.Errorf("%s of %s: %s", c.Name, s.word, out)
			}
		}
	}
}

// TestRowsWithoutATypeAreOfOneSort: and a loss that has no row is told beside.
func TestRowsWithoutATypeAreOfOneSort(t *testing.T) {
	transitions := 0
	for _, e := range judged() {
		if e.Kind == event.KindTransition {
			transitions++
		}
	}
	for _, test := range []struct {
		columns string
		rows    int
		told    bool
	}{
		{"pid,comm", transitions, true},
		{"pid,lost", transitions + 2, false},
		{"pid,one_in", transitions + 2, true},
		{"pid,type", len(judged()) + len(gaps()), false},
	} {
		out, notes := render(t, "csv", with("csv", test.columns, Options{}))
		if rows := strings.Count(out, "\r\n") - 1; rows != test.rows {
			t.Errorf("%s: %d rows, want %d:\n%s", test.columns, rows, test.rows, out)
		}
		if told := strings.Contains(notes, "1234 events lost"); told != test.told {
			t.Errorf("%s: the notes are %q", test.columns, notes)
		}
	}
}

// TestLogfmtIsJSON reads logfmt back with another's reader: the fields are
// those of JSON.
func TestLogfmtIsJSON(t *testing.T) {
	for _, options := range []Options{{}, {Elapsed: true}, {Of: OfRaw}, {Of: OfConns}, {Of: OfSockets}, named} {
		text, _ := render(t, "json", options)
		objects := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		text, _ = render(t, "logfmt", options)
		decoder := logfmt.NewDecoder(strings.NewReader(text))
		for i, line := range objects {
			var want map[string]any
			numbers := stdjson.NewDecoder(strings.NewReader(line))
			numbers.UseNumber()
			if err := numbers.Decode(&want); err != nil {
				t.Fatal(err)
			}
			if !decoder.ScanRecord() {
				t.Fatalf("%d records, want %d: %v", i, len(objects), decoder.Err())
			}
			for decoder.ScanKeyval() {
				name, value := string(decoder.Key()), string(decoder.Value())
				if fmt.Sprint(want[name]) != value {
					t.Errorf("%s is %q, and in JSON %v", name, value, want[name])
				}
				delete(want, name)
			}
			if len(want) > 0 {
				t.Errorf("%v are in JSON alone", want)
			}
		}
		if decoder.ScanRecord() || decoder.Err() != nil {
			t.Errorf("something is left: %v", decoder.Err())
		}
	}
}

// TestNamesAllocateNothing, nor do chosen columns.
func TestNamesAllocateNothing(t *testing.T) {
	for _, f := range Formats {
		if f.Columns == nil {
			continue
		}
		o := Options{Names: func(netip.Addr) string { return "web.example.com" }, Services: func(uint16, bool) string { return "https" }}
		o.Width = func() int { return 120 }
		if f.Typed {
			o = with(f.Name, "time,raddr,rname,lport,rservice,comm", o)
		} else {
			o = with(f.Name, "type,time,raddr,rname,lport,rservice,comm", o)
		}
		var out bytes.Buffer
		out.Grow(1 << 20)
		o.Out, o.Notes = &out, &out
		sink := f.New(o)
		e := scene()[1]
		if err := errors.Join(sink.Start(start), sink.Write(&e), sink.Flush()); err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(2000, func() { _ = sink.Write(&e) }); n != 0 {
			t.Errorf("%s: %v allocations an event", f.Name, n)
		}
	}
}

// TestREADMEHasEveryColumn looks into its table, and into the sentences after it.
func TestREADMEHasEveryColumn(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, formats, _ := strings.Cut(string(text), "\n## Formats\n")
	formats, _, _ = strings.Cut(formats, "\n## ")
	for _, c := range column.All {
		if !strings.Contains(formats, "`"+c.Name+"`") {
			t.Errorf("the README says nothing of %s", c.Name)
		}
	}
	for line := range strings.Lines(formats) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			continue
		}
		for _, name := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(cells[1], -1) {
			if !column.Has(column.All, name[1]) {
				t.Errorf("the README has a field %s that there is not", name[1])
			}
		}
	}
}

func TestSealLogfmt(t *testing.T) {
	for value, want := range map[string]string{
		"plain":           `plain`,
		`\x1b[2J\\`:       `\x1b[2J\\`, // without quotes a backslash is one
		"two words":       `"two words"`,
		"a=b":             `"a=b"`,
		`say "x"`:         `"say \"x\""`,
		`"`:               `"\""`,
		`a b\x0a`:         `"a b\\x0a"`,
		"größer,:{}als-7": "größer,:{}als-7",
	} {
		line := string(sealLogfmt([]byte("comm="+value), len("comm="), anything))
		if line != "comm="+want {
			t.Errorf("%s became %s", value, line)
		}
		decoder := logfmt.NewDecoder(strings.NewReader(line + "\n"))
		if !decoder.ScanRecord() || !decoder.ScanKeyval() || string(decoder.Value()) != value {
			t.Errorf("%s is read back as %q, %v", line, decoder.Value(), decoder.Err())
		}
	}
}
