package feature

import "testing"

func TestHost(t *testing.T) {
	l := NewList(Options{})
	for id, row := range Rows() {
		r := l.Ask(ID(id))
		t.Logf("%-22s %s %s | %v", row.Name, r.Answer, r.Sentence(), r.Err)
	}
}
