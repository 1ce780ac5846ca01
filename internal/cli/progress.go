package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// progress shows on a terminal how much of a file was read, when that takes long.
type progress struct {
	out   *os.File // nil: nobody looks
	what  string
	size  int64
	read  int64
	due   time.Time
	shown bool
}

// The bar appears after patienceOfReader, and moves this often.
const (
	patienceOfReader = time.Second
	progressPause    = 100 * time.Millisecond
	progressWidth    = 30
)

// newProgress begins to read a file of so many bytes; zero means that nobody knows.
// Nothing is shown where events go to the same terminal.
func (a *app) newProgress(what string, size int64) *progress {
	p := &progress{what: what, size: size, due: time.Now().Add(patienceOfReader)}
	if err, ok := a.stderr.(*os.File); ok && isTerminal(err) && size > 0 {
		if out, ok := a.stdout.(*os.File); !ok || !isTerminal(out) {
			p.out = err
		}
	}
	return p
}

// reader counts what is read of in.
func (p *progress) reader(in io.Reader) io.Reader { return &progressReader{in, p} }

type progressReader struct {
	io.Reader
	*progress
}

// Read implements io.Reader.
func (r *progressReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	r.read += int64(n)
	return n, err
}

// show draws the bar, if that is due.
func (p *progress) show() {
	if p.out == nil {
		return
	}
	now := time.Now()
	if now.Before(p.due) {
		return
	}
	p.due, p.shown = now.Add(progressPause), true
	fmt.Fprintf(p.out, "\r%s", p.bar())
}

func (p *progress) bar() string {
	part := min(1, float64(p.read)/float64(p.size))
	full := int(part * progressWidth)
	return fmt.Sprintf("%s [%s%s] %3.0f %%", p.what, strings.Repeat("#", full), strings.Repeat(" ", progressWidth-full), 100*part)
}

// clear takes the bar away.
func (p *progress) clear() {
	if p.shown {
		fmt.Fprintf(p.out, "\r\x1b[K")
		p.shown = false
	}
}
