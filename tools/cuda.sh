#!/bin/bash
# cuda.sh: which CUDA toolkit a build takes.
# Usage: tools/cuda.sh find FOLDER   prints the folder of the toolkit, nothing where there is none: CUDA_HOME, else
#                                    /usr/local/cuda; then the nvcc of PATH; then FOLDER, where fetch puts one
set -euo pipefail
export LC_ALL=C

least=12   # the oldest that knows C++20

die() { echo "cuda.sh: $*" >&2; exit 1; }

# The toolkit's folder is told by nvcc itself: in PATH it may be a link or a wrapper.
toolkit() {
	local nvcc=$1 top
	[ -x "$nvcc" ] || return 1
	[[ $("$nvcc" --version 2>/dev/null) =~ release\ ([0-9]+)\. ]] && [ "${BASH_REMATCH[1]}" -ge "$least" ] || return 1
	top=$(dirname "$(dirname "$(readlink -f "$nvcc")")")
	[ -e "$top/include/cuda_runtime.h" ] && compgen -G "$top/lib*/libcudart_static.a" >/dev/null || return 1
	echo "$top"
}

find_toolkit() {
	toolkit "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" || toolkit "$(command -v nvcc || true)" || toolkit "$1/bin/nvcc" || true
}

[ $# = 2 ] || die "usage: tools/cuda.sh find FOLDER"
case $1 in
find) find_toolkit "$2" ;;
*) die "usage: tools/cuda.sh find FOLDER" ;;
esac
