#!/bin/bash
# gpu_pack.sh: `make gpu-pack`: what a machine with a GPU may lack, in one folder to be carried there: real models cut to a few layers
# with the logits they should have (tests/gpu/pack_model.py), and the libraries that tokenizers and embedders need. Says what that and
# the tree take together: more than 64 MiB is an error, for so much may travel.
# Usage: tools/gpu_pack.sh REF_LOGITS MODELS OUT
set -euo pipefail
ref=$1 models=$2 out=$3 top=$(dirname "$0")/..
mkdir -p "$out/include/cjson" "$out/lib"
python3 "$top/tests/gpu/pack_model.py" --models "$models" --logits "$ref" "$out"
cp /usr/include/utf8proc.h "$out/include/"
cp /usr/include/cjson/cJSON.h "$out/include/cjson/"
for lib in utf8proc cjson; do
	file=$(readlink -f "$(gcc -print-file-name=lib$lib.so)")
	[ -e "$file" ] || { echo "gpu_pack.sh: lib$lib.so is not there" >&2; exit 1; }
	cp "$file" "$out/lib/lib$lib.so"                  # what is linked with, and what is then looked for: no links, which do not travel
	cp "$file" "$out/lib/$(objdump -p "$file" | awk '$1 == "SONAME" { print $2 }')"
done
bytes() { { xargs -0 -r stat -c %s -- 2>/dev/null || true; } | awk '{ n += $1 } END { printf "%.0f", n }'; }
pack=$(find "$out" -type f -print0 | bytes)
tree=$(git -C "$top" ls-files -z --cached --others --exclude-standard | (cd "$top" && bytes))
awk -v pack="$pack" -v tree="$tree" -v most=64 'BEGIN {
	sum = (pack + tree) / 1048576
	printf "%.1f MiB, with the tree (%.1f MiB) %.1f of %d MiB\n", pack / 1048576, tree / 1048576, sum, most
	exit sum > most
}' || { echo "gpu_pack.sh: that is too much to travel" >&2; exit 1; }
