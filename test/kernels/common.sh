# Sourced by the scripts here: where things are kept, and what is asked of a
# kernel's row.
# shellcheck shell=bash

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck disable=SC2034 # for who sources this
cache=$(realpath -m "${TCPSTATES_KERNELS:-${XDG_CACHE_HOME:-$HOME/.cache}/tcpstates/kernels}")

fail() {
	echo "test-kernels: $*" >&2
	exit 1
}

# rows prints a table without its comments.
rows() { grep -v '^#' "$here/$1"; }

# row NAME sets arch, suite and version for a kernel of the table.
# shellcheck disable=SC2034
row() {
	read -r _ suite version < <(rows kernels | awk -v name="$1" '$1 == name') ||
		fail "there is no kernel $1; there are: $(rows kernels | awk '{ print $1 }' | xargs)"
	arch=${1%%-*}
}
