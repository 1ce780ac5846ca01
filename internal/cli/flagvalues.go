package cli

import (
	"fmt"
	"math/bits"
	"os"
	"strconv"
	"strings"
	"time"
)

// byteSize is a flag that takes the size of the buffer to user space.
type byteSize int

const maxBuffer = 1 << 30

// Set implements pflag.Value.
func (b *byteSize) Set(text string) error {
	n, err := parseSize(text)
	if err != nil || n < os.Getpagesize() || n > maxBuffer || bits.OnesCount(uint(n)) != 1 {
		return fmt.Errorf("it takes a power of two from %s to %s, such as 512K, 4M or 64M",
			byteSize(os.Getpagesize()), byteSize(maxBuffer))
	}
	*b = byteSize(n)
	return nil
}

// parseSize reads a number of bytes with a unit of 1024 (K, KiB), its square
// (M, MiB) or cube (G, GiB), or none.
func parseSize(text string) (int, error) {
	number := strings.TrimSuffix(strings.ToUpper(text), "IB")
	shift := 0
	for unit, s := range map[string]int{"K": 10, "M": 20, "G": 30} {
		if rest, found := strings.CutSuffix(number, unit); found {
			number, shift = rest, s
			break
		}
	}
	n, err := strconv.ParseUint(number, 10, 31)
	if err != nil {
		return 0, err
	}
	return int(n) << shift, nil
}

// String implements pflag.Value.
func (b byteSize) String() string {
	switch n := int(b); {
	case n >= 1<<30 && n%(1<<30) == 0:
		return strconv.Itoa(n>>30) + "G"
	case n >= 1<<20 && n%(1<<20) == 0:
		return strconv.Itoa(n>>20) + "M"
	case n >= 1<<10 && n%(1<<10) == 0:
		return strconv.Itoa(n>>10) + "K"
	default:
		return strconv.Itoa(n)
	}
}

// Type implements pflag.Value.
func (b byteSize) Type() string { return "SIZE" }

// sizeFrom is a flag that takes a size from a least one on; zero means not given.
type sizeFrom struct {
	n, least int
	such     string // sizes for the example
}

// Set implements pflag.Value.
func (s *sizeFrom) Set(text string) error {
	n, err := parseSize(text)
	if err != nil || n < s.least {
		return fmt.Errorf("it takes a size from %s on, such as %s", byteSize(s.least), s.such)
	}
	s.n = n
	return nil
}

// String implements pflag.Value.
func (s *sizeFrom) String() string {
	if s.n == 0 {
		return ""
	}
	return byteSize(s.n).String()
}

// Type implements pflag.Value.
func (s *sizeFrom) Type() string { return "SIZE" }

// positive is a flag that takes a number from one on; zero means not given.
type positive uint64

// Set implements pflag.Value.
func (p *positive) Set(text string) error {
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil || n == 0 {
		return fmt.Errorf("it takes a number from 1 on")
	}
	*p = positive(n)
	return nil
}

// String implements pflag.Value.
func (p positive) String() string {
	if p == 0 {
		return ""
	}
	return strconv.FormatUint(uint64(p), 10)
}

// Type implements pflag.Value.
func (p positive) Type() string { return "N" }

// span is a flag that takes a time longer than none; zero means not given.
type span time.Duration

// Set implements pflag.Value.
func (s *span) Set(text string) error {
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return fmt.Errorf("it takes a time with its unit, such as 10s, 1m30s or 500ms")
	}
	*s = span(d)
	return nil
}

// String implements pflag.Value.
func (s span) String() string {
	if s == 0 {
		return ""
	}
	return time.Duration(s).String()
}

// Type implements pflag.Value.
func (s span) Type() string { return "TIME" }

// delay is a flag that takes a time, which can be none.
type delay time.Duration

// Set implements pflag.Value.
func (d *delay) Set(text string) error {
	t, err := time.ParseDuration(text)
	if err != nil || t < 0 {
		return fmt.Errorf("it takes a time with its unit, such as 500ms or 2s, or 0")
	}
	*d = delay(t)
	return nil
}

// String implements pflag.Value.
func (d delay) String() string { return time.Duration(d).String() }

// Type implements pflag.Value.
func (d delay) Type() string { return "TIME" }
