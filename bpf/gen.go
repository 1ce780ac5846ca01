// Package bpf holds the kernel side: the C sources, the object that clang makes
// of them, and the bindings that bpf2go writes to load it. One object serves
// every little-endian machine, since tracepoint programs read no registers.
//
// "make generate" remakes the object and the bindings.
package bpf

//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -type event -type event_kind -type event_flags -type event_facts -type process -type counts -type port_set Tcpstates tcpstates.bpf.c -- -O2 -g -Wall -Werror -mcpu=v3
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel TcpstatesPerf tcpstates.bpf.c -- -O2 -g -Wall -Werror -mcpu=v3 -DBY_PERF
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel Portable tcpstates.bpf.c -- -O2 -g -Wall -Werror -mcpu=v2 -DPORTABLE
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel PortablePerf tcpstates.bpf.c -- -O2 -g -Wall -Werror -mcpu=v2 -DPORTABLE -DBY_PERF
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel Tracepoint tracepoint.bpf.c -- -O2 -g -Wall -Werror -mcpu=v2
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel TracepointPerf tracepoint.bpf.c -- -O2 -g -Wall -Werror -mcpu=v2 -DBY_PERF
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -type found -type minisock -type owner -type process Snapshot snapshot.bpf.c -- -O2 -g -Wall -Werror -mcpu=v3
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -type changes Truth truth.bpf.c -- -O2 -g -Wall -Werror -mcpu=v3
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -type tally -type tally_row -type tally_buckets -type tally_of -type ending -type ending_signs Summary summary.bpf.c -- -O2 -g -Wall -Werror -mcpu=v3
