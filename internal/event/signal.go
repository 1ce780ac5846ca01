package event

// Signal is the number of a signal as Linux has it on amd64 and arm64, on any
// machine (include/uapi/asm-generic/signal.h). Zero is none.
type Signal uint8

var signalNames = [...]string{
	1: "SIGHUP", "SIGINT", "SIGQUIT", "SIGILL", "SIGTRAP", "SIGABRT", "SIGBUS", "SIGFPE",
	"SIGKILL", "SIGUSR1", "SIGSEGV", "SIGUSR2", "SIGPIPE", "SIGALRM", "SIGTERM", "SIGSTKFLT",
	"SIGCHLD", "SIGCONT", "SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG", "SIGXCPU",
	"SIGXFSZ", "SIGVTALRM", "SIGPROF", "SIGWINCH", "SIGIO", "SIGPWR", "SIGSYS",
}

// Name is the signal's name, such as "SIGKILL"; empty if it has none, as those
// that are for a program's own use (signal(7)).
func (s Signal) Name() string { return nameOf(signalNames[:], s) }

// SignalNames are the names that there are, by their numbers.
func SignalNames() []string { return named(signalNames[:]) }
