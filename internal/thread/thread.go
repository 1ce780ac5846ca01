// Package thread runs functions on threads that may be changed, as entering a
// namespace changes them.
package thread

import "runtime"

// Run runs f on a thread of its own, waits for it and returns its error. The
// thread ends with f, so nobody else gets to run on what f has made of it. It
// is never the main thread, which cannot end, and whose namespaces are those
// that /proc/self shows. A call of runtime.Goexit ends f alone, with no error.
func Run(f func() error) (err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if onMain() {
			// Held here, the main thread is none that the next call could get.
			err = Run(f)
			runtime.UnlockOSThread()
			return
		}
		err = f()
	}()
	<-done
	return err
}
