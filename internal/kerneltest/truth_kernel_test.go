package kerneltest

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTextAndPagesSayTheSame reads one recording both ways.
func TestTextAndPagesSayTheSame(t *testing.T) {
	Require(t)
	ns := NewNetns(t)
	tr := StartTruth(t)
	if !tr.text {
		t.Skip("this kernel's text has not all fields: the pages are all there is")
	}
	Storm(t, ns, 400)
	ns.Settle(t)
	text := tr.Stop(t)
	pages := tr.readPages(t)
	if len(text) < 2000 {
		t.Errorf("400 connections made %d transitions", len(text))
	}
	if diff := cmp.Diff(text, pages); diff != "" {
		t.Errorf("-text +pages:\n%s", diff)
	}
}

// TestPage has a page with an event of every kind.
func TestPage(t *testing.T) {
	page := func(commit uint64, words ...uint32) []byte {
		b := binary.NativeEndian.AppendUint64(nil, 1000)
		b = binary.NativeEndian.AppendUint64(b, commit)
		for _, word := range words {
			b = binary.NativeEndian.AppendUint32(b, word)
		}
		return b
	}
	whole := []uint32{
		1 | 5<<5, 0xaaaa, // 4 bytes, 5 later
		0 | 1<<5, 8, 0xbbbb, // a length of its own: 4 bytes, 1 later
		typePadding | 2<<5, 8, 0xcccc, // a discarded event, 2 later
		typeTimeExtend | 3<<5, 1, // 1<<27 + 3 later
		2, 0xdddd, 0xeeee,
		typeTimeStamp | 7<<5, 2, // at 2<<27 + 7
		1, 0xffff,
		typePadding, 0, 0x1111, // the page ends here
	}
	records, err := readPage(nil, page(uint64(4*len(whole)), whole...))
	if err != nil {
		t.Fatal(err)
	}
	var got []uint64
	for _, r := range records {
		got = append(got, r.time, uint64(binary.NativeEndian.Uint32(r.data)), uint64(len(r.data)))
	}
	want := []uint64{
		1005, 0xaaaa, 4,
		1006, 0xbbbb, 4,
		1011 + 1<<27, 0xdddd, 8,
		7 + 2<<27, 0xffff, 4,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	for name, bad := range map[string][]byte{
		"no header":    make([]byte, 15),
		"overwritten":  page(1<<31|8, 1, 0),
		"cut off":      page(8, 2, 0),
		"no length":    page(4, 0),
		"a length < 4": page(12, 0, 3, 0),
	} {
		if _, err := readPage(nil, bad); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
