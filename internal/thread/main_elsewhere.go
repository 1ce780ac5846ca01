//go:build !linux

package thread

// onMain matters for namespaces alone, which other systems do not have.
func onMain() bool { return false }
