package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/spf13/pflag"

	"tcpstates/internal/event"
	"tcpstates/internal/logfile"
	"tcpstates/internal/output"
	"tcpstates/internal/pipeline"
)

// fileFlags are the flags of the file that events are written to.
type fileFlags struct {
	path       string
	rotateSize sizeFrom
	rotateKeep positive
}

// defaultKeep is how many full files are kept unless it is told otherwise.
const defaultKeep = 5

func (f *fileFlags) bind(flags *pflag.FlagSet) {
	flags.StringVar(&f.path, "file", "", "write to this `PATH`, at its end, instead of stdout; SIGHUP opens it anew")
	f.rotateSize = sizeFrom{least: minFile, such: "500K, 100M or 1G"}
	flags.Var(&f.rotateSize, "rotate-size", "begin another file when it has this size: 100M; the full one becomes PATH.1")
	flags.Var(&f.rotateKeep, "rotate-keep", fmt.Sprintf("keep so many full files (default %d)", defaultKeep))
}

// minFile has room for the longest header and some lines.
const minFile = 4 << 10

// open opens the file; nil if none is wanted.
func (f *fileFlags) open() (*logfile.File, error) {
	keep := int(min(f.rotateKeep, math.MaxInt32))
	switch {
	case f.path == "" && (f.rotateSize.n > 0 || keep > 0):
		return nil, usagef("--rotate-size and --rotate-keep are about the file of --file: name one with --file PATH")
	case f.path == "":
		return nil, nil
	case keep > 0 && f.rotateSize.n == 0:
		return nil, usagef("--rotate-keep without --rotate-size: without a size no file is ever full: give one, such as --rotate-size 100M")
	case keep == 0:
		keep = defaultKeep
	}
	file, err := logfile.Open(logfile.Options{Path: f.path, MaxSize: int64(f.rotateSize.n), Keep: keep})
	if err != nil {
		return nil, fmt.Errorf("write to a file with --file: %w%s", err, hint(err))
	}
	return file, nil
}

// hint says what mends an error of the disk; nothing of the rarer ones.
func hint(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ": make its directory first"
	case errors.Is(err, fs.ErrPermission):
		return ": choose a place that this user may write to"
	}
	return ""
}

// toFile makes the options those of a format that writes to a file: no
// colours, no terminal's width.
func toFile(o *output.Options) {
	o.Color = false
	o.Width = func() int { return 0 }
}

// headed is a sink whose first lines reach its file alone: each later file
// begins with them, too.
type headed struct{ pipeline.Sink }

// Start implements pipeline.Sink.
func (h headed) Start(s event.Start) error {
	if err := h.Sink.Start(s); err != nil {
		return err
	}
	return h.Sink.Flush()
}

// reopenAtHangups has SIGHUP open the file anew, until what it returns is
// called. It calls failed where that cannot be done.
func (r *run) reopenAtHangups(failed func(error)) (stop func()) {
	r.hangups.redirect(func() {
		if err := r.flags.reopen(r.target.file); err != nil {
			failed(err)
		}
	})
	return func() { r.hangups.redirect(nil) }
}

// reopen opens the file anew.
func (f *traceFlags) reopen(file *logfile.File) error {
	err := file.Reopen()
	switch {
	case err == nil:
		return nil
	case f.dropTo.text != "":
		return fmt.Errorf("open the file of --file anew at SIGHUP: %w: the trace goes on as %s by --drop-to: "+
			"let that user write to the file and its directory", err, f.dropTo.text)
	}
	return fmt.Errorf("open the file of --file anew at SIGHUP: %w%s", err, hint(err))
}

// hangups is what the process does at SIGHUP: it ends the command, unless
// something else was asked for. The zero value hears no signal.
type hangups struct {
	mu      sync.Mutex
	instead func() // nil: nothing else
}

// hear has end called at the first SIGHUP for which nothing else was asked; the
// next one kills. A process that was started to ignore the signal, as nohup has
// it, does so until something else is asked for.
func (h *hangups) hear(end func()) {
	ignored := signal.Ignored(syscall.SIGHUP)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	go func() {
		for range signals {
			h.mu.Lock()
			instead := h.instead
			h.mu.Unlock()
			switch {
			case instead != nil:
				instead()
			case !ignored:
				signal.Stop(signals)
				end()
				return
			}
		}
	}()
}

// redirect has f called at each SIGHUP from now on; nil means that it ends the
// command again.
func (h *hangups) redirect(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.instead = f
}
