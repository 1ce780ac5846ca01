package event

import (
	"unicode"
	"unicode/utf8"
)

// Comm is a process name as the kernel keeps it: up to 15 bytes, then zeros
// (TASK_COMM_LEN). A process may give itself any name, terminal escapes and
// broken UTF-8 included, so it is only ever shown by way of AppendText.
type Comm [16]byte

// CommOf makes a Comm of a name, cut to its 15 bytes.
func CommOf(name string) Comm {
	var c Comm
	copy(c[:len(c)-1], name)
	return c
}

// bytes is the name without the zeros behind it.
func (c *Comm) bytes() []byte {
	for i, b := range c {
		if b == 0 {
			return c[:i]
		}
	}
	return c[:]
}

// AppendText appends the name in printable form: what is no printable
// character, and each byte that is no UTF-8, stands as \xNN, and a backslash
// as \\, so that the form is unambiguous.
func (c *Comm) AppendText(dst []byte) []byte {
	return AppendText(dst, c.bytes())
}

// AppendText appends text of another process's making in the printable form
// that Comm.AppendText describes.
func AppendText[T string | []byte](dst []byte, text T) []byte {
	name := []byte(text)
	if isPlain(name) {
		return append(dst, name...)
	}
	for i := 0; i < len(name); {
		r, size := utf8.DecodeRune(name[i:])
		switch {
		case r == '\\':
			dst = append(dst, `\\`...)
		case r == utf8.RuneError && size == 1, !unicode.IsPrint(r):
			for _, b := range name[i : i+size] {
				dst = append(dst, '\\', 'x', hexDigits[b>>4], hexDigits[b&15])
			}
		default:
			dst = append(dst, name[i:i+size]...)
		}
		i += size
	}
	return dst
}

// isPlain tells whether the name stands for itself: most do.
func isPlain(name []byte) bool {
	for _, b := range name {
		if b < ' ' || b > '~' || b == '\\' {
			return false
		}
	}
	return true
}

const hexDigits = "0123456789abcdef"

// String is the printable form.
func (c Comm) String() string { return string(c.AppendText(nil)) }
