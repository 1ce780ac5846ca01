package feature

func sockDiag(l *List) Result {
	err := trySockDiag()
	if err == nil {
		return yes("")
	}
	return Result{
		Answer: No, Err: err,
		Reason: "the kernel lists no TCP sockets by netlink",
		Remedy: "modprobe tcp_diag",
	}
}
