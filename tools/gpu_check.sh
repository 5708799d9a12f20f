#!/bin/bash
# gpu_check.sh: everything `make gpu-check` does on a machine with a GPU: builds the checks, then has tests/gpu/gpu_steps.py go through them in the order
# of their worth, within the time there is:
#   kernels   every kernel of the table against plain loops over odd sizes (the tests of nn/), memory and queue
#   models    whole models against the specification's kernels: logits, bits beside others, chosen tokens; generator, embedder
#   time      kernels, models, embedder, scan and start timed at real sizes, beside what the device gives at most
#   peers     PyTorch eager and with CUDA graphs, llama.cpp, vLLM, where they are found
#   sanitize  compute-sanitizer (memcheck, racecheck, synccheck) over the kernels' tests
# and writes the report, build-gpu/GPU.md. What the time did not suffice for is named "cut off"; what is done is kept, and the same command goes on
# there. The last line is "N passed, N failed, N skipped, N cut off".
# Needs: a CUDA toolkit (tools/cuda.sh says where it is looked for), gcc, g++, make, python3; no package of the distribution, no network.
# Environment: ONLY=kernels,time (some of it), OUT (a folder for copies of GPU.md, gpu.json, gpu.jsonl, done.jsonl, log), SECONDS_MOST (540: it ends
# by then), PYTHON (that has torch; python3), GPU_PACK (what `make gpu-pack` made; build/gpu_pack), BUILD (build-gpu). Where the folder BUILD did not stay,
# an earlier call's done.jsonl, put into BUILD/gpu, is as good.
# Exit code: 0: all done; 1 where something failed; 3 where there is no GPU (all is built then, and one line says so); 4: the same command does the rest.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
make=${MAKE:-make}
build=${BUILD:-build-gpu}
most=${SECONDS_MOST:-540}
only=${ONLY:-kernels,models,time,peers,sanitize}
python=${PYTHON:-python3}
pack=$(realpath -m "${GPU_PACK:-build/gpu_pack}")
mkdir -p "$build/gpu" || exit 1
log=$build/gpu/build.log
unset OPT MAKEFLAGS MAKELEVEL

# --- what this machine has ---
has() { echo "#include <$1>" | gcc -E -x c - -I"$pack/include" >/dev/null 2>&1; }
flags=() without=() nolibs=() told=()
lack() { echo "skip $*"; told+=("--lack=$*"); }
fault() { echo "FAIL $*"; told+=("--fault=$*"); }
[ ! -d "$pack/include" ] || flags+=("-isystem $pack/include")
has openssl/sha.h || { flags+=("-isystem tests/gpu/without_openssl"); nolibs+=(-lcrypto); }
has cblas.h || { flags+=("-isystem tests/gpu/without_openblas"); nolibs+=(-lopenblas); }
has archive.h || { without+=(base/zip.c); nolibs+=(-larchive); }
has libstemmer.h || { without+=(base/words.c); nolibs+=(-lstemmer); }
has utf8proc.h || { without+=(base/unicode.c); nolibs+=(-lutf8proc); }
has cjson/cJSON.h || { without+=($(grep -l 'base/json.h' base/*.c nn/*.c embed/*.c generate/*.c)); nolibs+=(-lcjson); }
programs=(ceilings run-kernels run-models)
if has utf8proc.h; then programs+=(run-generate); else lack "generator: libutf8proc is missing (make gpu-pack, and carry $pack)"; fi
if has utf8proc.h && has cjson/cJSON.h; then programs+=(run-embed); else lack "embedder: libutf8proc or libcjson is missing (make gpu-pack, and carry $pack)"; fi

# --- build: in a folder of its own, for what lacks a library is not the program's ---
echo "== build (${programs[*]}${without[*]:+; without ${without[*]}})"
toolkit=$(tools/cuda.sh find)
if [ -z "$toolkit" ]; then
	echo "FAIL the CUDA toolkit: tools/cuda.sh finds none; CUDA_HOME may name it"
	echo "0 passed, 1 failed, 0 skipped, 0 cut off"
	exit 1
fi
touch "$build/packages.ok"
timeout -k 5 $((most > 60 ? most - 30 : 30)) "$make" --no-print-directory -j"$(nproc)" -k BUILD="$build" CUDA="$toolkit" "CFLAGS=${flags[*]}" \
	LDFLAGS="${flags[*]:+-L$pack/lib -Wl,-rpath,$pack/lib -Wl,--as-needed}" GPU_WITHOUT="${without[*]}" GPU_NO_LIBS="${nolibs[*]}" \
	"${programs[@]/#/$build/gpu/}" >"$log" 2>&1
rc=$?
echo "   (build: $SECONDS s)"
if [ $rc = 124 ]; then
	echo "cut off: build"
	echo "0 passed, 0 failed, 0 skipped, 1 cut off"
	exit 4
elif [ $rc != 0 ]; then
	grep -E 'error|Error|undefined|No rule|warning: ' "$log" | head -n 20
	fault "build: $log"
fi
if [ ! -x "$build/gpu/ceilings" ]; then
	echo "0 passed, 1 failed, 0 skipped, 0 cut off"
	exit 1
fi

# PyTorch may bring the one cuBLAS there is.
[ -n "${CUBLAS:-}" ] || CUBLAS=$("$python" -c 'import glob, site, sys
print(next(iter(sorted(p for d in site.getsitepackages() + sys.path for p in glob.glob(d + "/nvidia/*/lib/libcublas.so.*"))), ""))' 2>/dev/null)
export CUBLAS
nvcc=$("$toolkit/bin/nvcc" --version | sed -n 's/.*release \([0-9.]*\).*/\1/p')
exec python3 tests/gpu/gpu_steps.py --build "$build" --seconds $((most - SECONDS)) --only "$only" --python "$python" --pack "$pack" --nvcc "$nvcc" "${told[@]}"
