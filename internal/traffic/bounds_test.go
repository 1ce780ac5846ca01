package traffic

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// pieces keeps what is written at once.
type pieces [][]byte

func (p *pieces) Write(b []byte) (int, error) {
	*p = append(*p, bytes.Clone(b))
	return len(b), nil
}

func TestBoundsComeThroughAPipe(t *testing.T) {
	var want []Bounds
	for i := range 200 {
		addr := netip.AddrFrom4([4]byte{127, 77, 0, byte(i)})
		if i%2 == 1 {
			addr = netip.IPv6Loopback()
		}
		want = append(want, Bounds{
			Local: netip.AddrPortFrom(addr, uint16(40000+i)), Remote: netip.AddrPortFrom(addr, 80),
			Min: time.Duration(i), Max: time.Hour + time.Duration(i),
		})
	}
	var written pieces
	w := NewBoundsWriter(&written)
	for _, b := range want {
		if err := w.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, piece := range written {
		if len(piece) > pipeBuf || len(piece)%boundsSize != 0 {
			t.Errorf("%d bytes are written at once", len(piece))
		}
	}
	var got []Bounds
	if err := ReadBounds(bytes.NewReader(bytes.Join(written, nil)), func(b Bounds) { got = append(got, b) }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestBoundsCutOff(t *testing.T) {
	if err := ReadBounds(strings.NewReader("half of one"), func(Bounds) {}); err == nil {
		t.Error("what is cut off is read")
	}
}
