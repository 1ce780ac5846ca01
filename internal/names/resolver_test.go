package names

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"tcpstates/internal/event"
)

var web = netip.MustParseAddr("192.0.2.1")

// server answers requests as it is told.
type server struct {
	mu            sync.Mutex
	asked         []string
	underway, max int
	answer        func(ctx context.Context, addr string) ([]string, error)
}

func (s *server) lookup(ctx context.Context, addr string) ([]string, error) {
	s.mu.Lock()
	s.asked = append(s.asked, addr)
	s.underway++
	s.max = max(s.max, s.underway)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.underway--
		s.mu.Unlock()
	}()
	return s.answer(ctx, addr)
}

// always answers every request alike.
func always(names ...string) func(context.Context, string) ([]string, error) {
	return func(context.Context, string) ([]string, error) { return names, nil }
}

func TestNobodyWaitsForAName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open := make(chan struct{})
		s := &server{answer: func(context.Context, string) ([]string, error) {
			<-open
			return []string{"web.example.com."}, nil
		}}
		r := NewResolver(s.lookup, time.Now)
		defer r.Close()
		mapped := netip.AddrFrom16(web.As16())
		for range 3 {
			if got := r.Name(web) + r.Name(mapped); got != "" {
				t.Errorf("got %q before there is an answer", got)
			}
		}
		close(open)
		synctest.Wait()
		if got := r.Name(web) + " " + r.Name(mapped); got != "web.example.com web.example.com" {
			t.Errorf("got %q", got)
		}
		if !slices.Equal(s.asked, []string{"192.0.2.1"}) {
			t.Errorf("asked for %q", s.asked)
		}
	})
}

func TestAnswersHoldForATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{answer: always("old.example.com.")}
		r := NewResolver(s.lookup, time.Now)
		defer r.Close()
		name := func(after time.Duration) string {
			time.Sleep(after) // of the bubble's clock
			name := r.Name(web)
			synctest.Wait()
			return name
		}
		name(0)
		s.answer = func(context.Context, string) ([]string, error) { return nil, errors.New("no such host") }
		for i, step := range []struct {
			after time.Duration
			want  string
			asked int
		}{
			{holds - 1, "old.example.com", 1},
			{1, "old.example.com", 2}, // it stands until the answer is there
			{holdsNot - 1, "", 2},
			{1, "", 3},
			{1, "", 3},
		} {
			if got := name(step.after); got != step.want || len(s.asked) != step.asked {
				t.Errorf("step %d: got %q after %d requests, want %q after %d", i, got, len(s.asked), step.want, step.asked)
			}
		}
	})
}

func TestSilenceIsNoName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{answer: func(ctx context.Context, _ string) ([]string, error) {
			<-ctx.Done()
			return []string{"late.example.com."}, ctx.Err()
		}}
		r := NewResolver(s.lookup, time.Now)
		defer r.Close()
		began := time.Now()
		r.Name(web)
		r.Settle(t.Context())
		if took := time.Since(began); took != patience || r.Name(web) != "" {
			t.Errorf("%q after %v", r.Name(web), took)
		}
	})
}

func TestSettleEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{answer: func(ctx context.Context, _ string) ([]string, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		r := NewResolver(s.lookup, time.Now)
		defer r.Close()
		r.Settle(t.Context()) // nothing is under way
		r.Name(web)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		r.Settle(ctx)
		if took := time.Since(began); took != time.Second {
			t.Errorf("settled after %v", took)
		}
	})
}

// TestBounds asks for far more than it may.
func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open := make(chan struct{})
		s := &server{answer: func(context.Context, string) ([]string, error) {
			<-open
			return []string{"a.example.com."}, nil
		}}
		r := NewResolver(s.lookup, time.Now)
		defer r.Close()
		addr := netip.MustParseAddr("2001:db8::1")
		for range 2 * maxKnown {
			r.Name(addr)
			addr = addr.Next()
		}
		synctest.Wait()
		if s.max != maxUnderway || len(r.waiting) != maxWaiting || len(r.known) != maxUnderway+maxWaiting {
			t.Errorf("%d under way, %d wait, %d known", s.max, len(r.waiting), len(r.known))
		}
		close(open)
		r.Settle(t.Context())
		if len(s.asked) != maxUnderway+maxWaiting || s.max != maxUnderway {
			t.Errorf("%d asked for, %d at a time", len(s.asked), s.max)
		}
		for range 2 * maxKnown {
			r.Name(addr)
			addr = addr.Next()
			r.Settle(t.Context())
		}
		if len(r.known) != maxKnown {
			t.Errorf("%d are remembered", len(r.known))
		}
	})
}

func TestOnlyHostNamesAreTaken(t *testing.T) {
	for answer, want := range map[string]string{
		"web.example.com.":                "web.example.com",
		"LocalHost":                       "LocalHost",
		"_dmarc.x-1.example.":             "_dmarc.x-1.example",
		"":                                "",
		".":                               "",
		"evil\x1b[2J.example.com.":        "",
		"a b.example.com.":                "",
		`a\b.example.com.`:                "",
		"größe.example.com.":              "",
		"8.8.8.8.":                        "", // an address that somebody else has
		"2001:db8::1":                     "",
		"1.2.3.999":                       "",
		strings.Repeat("a.", 125) + "com": "a." + strings.Repeat("a.", 124) + "com",
		strings.Repeat("a.", 126) + "com": "",
	} {
		r := NewResolver((&server{answer: always(answer)}).lookup, time.Now)
		r.Name(web)
		r.Settle(t.Context())
		if got := r.Name(web); got != want {
			t.Errorf("%q became %q", answer, got)
		}
		r.Close()
	}
	// The first that may stands.
	r := NewResolver((&server{answer: always("bad name.", "good.example.com.")}).lookup, time.Now)
	defer r.Close()
	r.Name(web)
	r.Settle(t.Context())
	if got := r.Name(web); got != "good.example.com" {
		t.Errorf("got %q", got)
	}
}

func TestKnownNamesAllocateNothing(t *testing.T) {
	r := NewResolver((&server{answer: always("web.example.com.")}).lookup, time.Now)
	defer r.Close()
	r.Name(web)
	r.Settle(t.Context())
	e := event.Event{Remote: netip.AddrPortFrom(web, 443)}
	next := func(*event.Event) error { return nil }
	if n := testing.AllocsPerRun(1000, func() {
		_ = r.Name(web)
		_ = r.Apply(&e, next)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestApplyAsksForRemoteEnds(t *testing.T) {
	s := &server{answer: always("web.example.com.")}
	r := NewResolver(s.lookup, time.Now)
	defer r.Close()
	passed := 0
	for _, remote := range []netip.AddrPort{{}, netip.MustParseAddrPort("[::]:0"), netip.MustParseAddrPort("0.0.0.0:0"), netip.AddrPortFrom(web, 1)} {
		e := event.Event{Remote: remote}
		if err := r.Apply(&e, func(*event.Event) error { passed++; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	r.Settle(t.Context())
	if passed != 4 || !slices.Equal(s.asked, []string{web.String()}) {
		t.Errorf("%d passed, asked for %q", passed, s.asked)
	}
}

// TestDNS asks a real server over UDP, by the standard library's resolver.
func TestDNS(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { serveDNS(conn, "1.2.0.192.in-addr.arpa.", "web.example.com.") })
	defer serving.Wait()
	defer conn.Close()
	library := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
	r := NewResolver(library.LookupAddr, time.Now)
	defer r.Close()
	nobody := netip.MustParseAddr("192.0.2.2")
	r.Name(web)
	r.Name(nobody)
	r.Settle(t.Context())
	if got := r.Name(web) + " " + r.Name(nobody); got != "web.example.com " {
		t.Errorf("got %q", got)
	}
}

// serveDNS answers that one address has a name, and no other, until the
// connection is closed.
func serveDNS(conn net.PacketConn, question, name string) {
	packet := make([]byte, 512)
	for {
		n, from, err := conn.ReadFrom(packet)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(packet[:n]) != nil || len(m.Questions) != 1 {
			continue
		}
		m.Header = dnsmessage.Header{ID: m.ID, Response: true, RecursionAvailable: true}
		m.Additionals = nil
		if q := m.Questions[0]; q.Name.String() == question {
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 60},
				Body:   &dnsmessage.PTRResource{PTR: dnsmessage.MustNewName(name)},
			}}
		} else {
			m.RCode = dnsmessage.RCodeNameError
		}
		if answer, err := m.Pack(); err == nil {
			_, _ = conn.WriteTo(answer, from) // who gets none asks again
		}
	}
}
