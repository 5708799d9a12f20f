#!/bin/bash
# cuda.sh: which CUDA toolkit a build takes, and one for machines that have none: compiler and runtime from the packages
# of tools/cuda.txt (pinned, with checksums), unpacked once into the cache.
# Usage: tools/cuda.sh find    prints the folder of the toolkit, nothing where there is none: CUDA_HOME, else
#                              /usr/local/cuda; then the nvcc of PATH; /usr/local/cuda-*; then the cache
#        tools/cuda.sh fetch   puts one into the cache where find finds none
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/.."

least=12   # the oldest that knows C++20

die() { echo "cuda.sh: $*" >&2; exit 1; }

# The toolkit's folder is where nvcc itself lies: in PATH it may be a link.
toolkit() {
	local nvcc=$1 top
	[ -x "$nvcc" ] || return 1
	[[ $("$nvcc" --version 2>/dev/null) =~ release\ ([0-9]+)\. ]] && [ "${BASH_REMATCH[1]}" -ge "$least" ] || return 1
	top=$(dirname "$(dirname "$(readlink -f "$nvcc")")")
	[ -e "$top/include/cuda_runtime.h" ] && compgen -G "$top/lib*/libcudart_static.a" >/dev/null || return 1
	echo "$top"
}

cached() { toolkit "$(tools/pypi.sh "$@" tools/cuda.txt 2>/dev/null)/nvidia/cu13/bin/nvcc"; }
installed() {
	local nvcc
	for nvcc in "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" "$(command -v nvcc)" /usr/local/cuda-*/bin/nvcc; do toolkit "$nvcc" && return; done
	return 1
}

case ${1:-} in
find) installed || cached --there || true ;;
fetch)
	installed >/dev/null || cached --there >/dev/null && exit
	started=$SECONDS
	echo "cuda.sh: fetching the CUDA compiler and runtime (100 MB)"
	tools/pypi.sh tools/cuda.txt >/dev/null || die "the packages of tools/cuda.txt could not be fetched (no network?)"
	top=$(cached --there) || die "the packages of tools/cuda.txt hold no toolkit that works"
	echo "cuda.sh: CUDA is in $top ($((SECONDS - started)) s)" ;;
*) die "usage: tools/cuda.sh find|fetch" ;;
esac
