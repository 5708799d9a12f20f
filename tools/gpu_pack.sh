#!/bin/bash
# gpu_pack.sh: `make gpu-pack`: what a machine with a GPU may lack, in one folder to be carried there: real models cut to a few layers
# with the logits they should have (tests/gpu/pack_model.py), and the libraries that tokenizers and embedders need.
# Usage: tools/gpu_pack.sh REF_LOGITS MODELS OUT
set -euo pipefail
ref=$1 models=$2 out=$3
mkdir -p "$out/include/cjson" "$out/lib"
python3 "$(dirname "$0")/../tests/gpu/pack_model.py" --models "$models" --logits "$ref" "$out"
cp /usr/include/utf8proc.h "$out/include/"
cp /usr/include/cjson/cJSON.h "$out/include/cjson/"
for lib in utf8proc cjson; do
	file=$(readlink -f "$(gcc -print-file-name=lib$lib.so)")
	[ -e "$file" ] || { echo "gpu_pack.sh: lib$lib.so is not there" >&2; exit 1; }
	cp "$file" "$out/lib/lib$lib.so"                  # what is linked with, and what is then looked for: no links, which do not travel
	cp "$file" "$out/lib/$(objdump -p "$file" | awk '$1 == "SONAME" { print $2 }')"
done
du -sh "$out" | cut -f1
