package filter

import (
	"fmt"
	"net/netip"
	"strings"

	"tcpstates/internal/event"
)

// addrTest looks for addresses within the prefixes at an end.
type addrTest struct {
	end      end
	prefixes []netip.Prefix // IPv6, as Lowered has them
}

func parseAddrs(at end) func([]string, Env) (test, error) {
	return func(words []string, _ Env) (test, error) {
		t := addrTest{end: at}
		for _, word := range words {
			prefix, err := parsePrefix(word)
			if err != nil {
				return nil, err
			}
			t.prefixes = append(t.prefixes, prefix)
		}
		return t, nil
	}
}

// mappedBits is how many bits stand before an IPv4 address that is mapped into IPv6
// (RFC 4291, 2.5.5.2).
const mappedBits = 96

// parsePrefix reads an address, or one with the length of a prefix. IPv4 becomes
// IPv4-mapped, so that one form is left.
func parsePrefix(word string) (netip.Prefix, error) {
	addr, bits := word, ""
	if i := strings.IndexByte(word, '/'); i >= 0 {
		addr, bits = word[:i], word[i:]
	}
	a, err := netip.ParseAddr(addr)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("%q is no address", word)
	}
	if bits == "" {
		bits = fmt.Sprintf("/%d", a.BitLen())
	}
	p, err := netip.ParsePrefix(addr + bits)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is no prefix of addresses", word)
	}
	if a.Is4() {
		p = netip.PrefixFrom(netip.AddrFrom16(a.As16()), p.Bits()+mappedBits)
	}
	return p.Masked(), nil
}

func (t addrTest) of(e *event.Event) (is, known bool) {
	l, r := e.Local.Addr(), e.Remote.Addr()
	is = t.end&local != 0 && t.has(l) || t.end&remote != 0 && t.has(r)
	return is, t.end&local != 0 && l.IsValid() || t.end&remote != 0 && r.IsValid()
}

func (t addrTest) has(addr netip.Addr) bool {
	if !addr.IsValid() {
		return false
	}
	wide := netip.AddrFrom16(addr.As16())
	for _, p := range t.prefixes {
		if p.Contains(wide) {
			return true
		}
	}
	return false
}

func lowerAddrs(t test, exclude bool, l *Lowered) bool {
	test := t.(addrTest)
	at := map[end]**AddrRule{local: &l.LocalAddrs, remote: &l.RemoteAddrs, either: &l.Addrs}[test.end]
	return claim(at, AddrRule{test.prefixes, exclude})
}
