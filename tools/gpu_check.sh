#!/bin/bash
# gpu_check.sh: everything `make gpu-check` does on a machine with a GPU: builds the checks, then in this order, within the time there is:
#   ceilings  what the device gives at most: memory, launches, cuBLAS
#   kernels   every kernel of the table against plain loops over odd sizes (the tests of nn/), memory and queue
#   models    whole models against the specification's kernels: logits, bits beside others, chosen tokens; generator, embedder
#   time      kernels, models and embedder timed at real sizes
#   peers     PyTorch eager and with CUDA graphs, llama.cpp, vLLM, where they are found
#   sanitize  compute-sanitizer (memcheck, racecheck, synccheck) over the kernels' tests
# and a report. The last line is "N passed, N failed, N skipped"; what was left out is named and counts as skipped.
# Needs: a CUDA toolkit (CUDA_HOME, /usr/local/cuda or nvcc in PATH), gcc, g++, make, python3; no package of the distribution, no network.
# Environment: ONLY=kernels,time (some of it), OUT (folder for gpu.jsonl, gpu.json and GPU.md; build-gpu/gpu), SECONDS_MOST (540: nothing is
# begun that would not end by then), PYTHON (that has torch; python3), GPU_PACK (what `make gpu-pack` made; build/gpu_pack), BUILD.
# Exit code: 0; 1 where something failed; 3 where there is no GPU (all is built then, and one line says so).
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
make=${MAKE:-make}
build=${BUILD:-build-gpu}
out=${OUT:-$build/gpu}
most=${SECONDS_MOST:-540}
only=${ONLY:-kernels,models,time,peers,sanitize}
python=${PYTHON:-python3}
pack=${GPU_PACK:-build/gpu_pack}
passed=0 failed=0 skipped=0
mkdir -p "$out" "$build/gpu" || exit 1
log=$build/gpu/log
figures=$out/gpu.jsonl
models=
trap '[ -z "$models" ] || rm -rf "$models"' EXIT
unset OPT

fail() {
	failed=$((failed + 1))
	echo "FAIL $*"
}

skip() {
	skipped=$((skipped + 1))
	echo "skip $*"
}

finish() {
	echo "$passed passed, $failed failed, $skipped skipped"
	[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
	exit
}

wanted() { [[ ,$only, == *,$1,* ]]; }
left() { echo $((most - SECONDS)); }
note() { printf '{"work": "%s", %s}\n' "$1" "$2" >>"$figures"; }

# A suite of tests/runner.c: its name, the seconds it may take, the command. Its closing line is added to the sum.
suite() {
	local name=$1 limit=$2 rc line started=$SECONDS
	shift 2
	[ "$(left)" -ge 20 ] || { skip "$name: no time is left"; return; }
	[ "$limit" -le "$(left)" ] || limit=$(left)
	echo "== $name"
	timeout -k 5 "$limit" "$@" >"$log" 2>&1
	rc=$?
	cat "$log"
	line=$(grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$log" | tail -n 1)
	if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]]; then
		passed=$((passed + BASH_REMATCH[1]))
		failed=$((failed + BASH_REMATCH[2]))
		skipped=$((skipped + BASH_REMATCH[3]))
		[ "${BASH_REMATCH[1]}${BASH_REMATCH[2]}${BASH_REMATCH[3]}" != 000 ] || fail "$name: there is no test"
		note suite "\"name\": \"$name\", \"passed\": ${BASH_REMATCH[1]}, \"failed\": ${BASH_REMATCH[2]}, \"skipped\": ${BASH_REMATCH[3]}, \"s\": $((SECONDS - started))"
	elif [ $rc = 124 ] || [ $rc = 137 ]; then
		fail "$name: not over after $limit s; done by then: $(grep -c . "$log") lines"
	else
		fail "$name: exit code $rc"
	fi
	echo "   ($name: $((SECONDS - started)) s)"
}

# --- what this machine has ---
has() { echo "#include <$1>" | gcc -E -x c - -I"$pack/include" >/dev/null 2>&1; }
flags=() without=() nolibs=()
[ ! -d "$pack/include" ] || flags+=("-isystem $pack/include")
has openssl/sha.h || { flags+=("-isystem tests/gpu/without_openssl"); nolibs+=(-lcrypto); }
has cblas.h || { flags+=("-isystem tests/gpu/without_openblas"); nolibs+=(-lopenblas); }
has archive.h || { without+=(base/zip.c); nolibs+=(-larchive); }
has libstemmer.h || { without+=(base/words.c); nolibs+=(-lstemmer); }
has utf8proc.h || { without+=(base/unicode.c); nolibs+=(-lutf8proc); }
has cjson/cJSON.h || { without+=($(grep -l 'base/json.h' base/*.c nn/*.c embed/*.c generate/*.c)); nolibs+=(-lcjson); }
programs=(ceilings run-kernels run-models)
if has utf8proc.h; then programs+=(run-generate); else skip "generator: libutf8proc is missing (make gpu-pack, and carry $pack)"; fi
if has utf8proc.h && has cjson/cJSON.h; then programs+=(run-embed); else skip "embedder: libutf8proc or libcjson is missing (make gpu-pack, and carry $pack)"; fi

# --- build: in a folder of its own, for what lacks a library is not the program's ---
echo "== build (${programs[*]}${without[*]:+; without ${without[*]}})"
touch "$build/packages.ok"
if "$make" --no-print-directory -j"$(nproc)" -k BUILD="$build" "CFLAGS=${flags[*]}" LDFLAGS="${flags[*]:+-L$pack/lib -Wl,-rpath,$PWD/$pack/lib -Wl,--as-needed}" \
	GPU_WITHOUT="${without[*]}" GPU_NO_LIBS="${nolibs[*]}" "${programs[@]/#/$build/gpu/}" >"$log" 2>&1; then
	passed=$((passed + 1))
else
	grep -E 'error|Error|undefined|No rule|warning: ' "$log" | head -n 20
	fail "build"
fi
echo "   (build: $SECONDS s)"

# --- the device ---
if [ ! -x "$build/gpu/ceilings" ]; then
	fail "the CUDA toolkit: tools/cuda.sh finds none, or it does not compile"
	finish
fi
: >"$figures"
device=$("$build/gpu/ceilings" device 2>&1)
case $? in
0) echo "$device" | tee -a "$figures" ;;
3)
	echo "gpu-check: $device; $([ $failed = 0 ] && echo everything || echo "not everything (above)") was built, nothing was run"
	exit 3
	;;
*)
	fail "device: $device"
	finish
	;;
esac
nvcc=$("$(tools/cuda.sh find)/bin/nvcc" --version | sed -n 's/.*release \([0-9.]*\).*/\1/p')
cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
note run "\"began\": \"$(date -u '+%Y-%m-%d %H:%M UTC')\", \"only\": \"$only\", \"cpu\": \"$cpu\", \"cores\": $(nproc), \"nvcc\": \"$nvcc\""

export GPU_FIGURES=$figures
[ ! -e "$pack/models.json" ] || export GPU_PACK=$pack
# Random models take some GB: kept in memory from check to measurement where there is room.
models=$(mktemp -d "$([ -d /dev/shm ] && [ "$(df --output=avail -k /dev/shm | tail -n 1)" -gt 30000000 ] && echo /dev/shm || echo "$build/gpu")/models.XXXXXX")
export GPU_MODELS=$models

if wanted time || wanted peers; then
	timeout -k 5 90 "$build/gpu/ceilings" >"$log" 2>&1 && passed=$((passed + 1)) || fail "ceilings: $(tail -n 1 "$log")"
	grep '^{' "$log" | tail -n +2 >>"$figures"
fi
if wanted kernels; then suite kernels 150 "$build/gpu/run-kernels" tests/nn/ check_device; fi
if wanted models; then
	suite models 200 "$build/gpu/run-models" check_models
	[ ! -x "$build/gpu/run-generate" ] || suite generator 90 "$build/gpu/run-generate" tests/generate/
	[ ! -x "$build/gpu/run-embed" ] || suite embedder 60 "$build/gpu/run-embed" tests/embed/
fi
if wanted time; then
	suite "kernels' times" 90 "$build/gpu/run-kernels" time_kernels
	suite "models' times" 150 "$build/gpu/run-models" time_models
	[ ! -x "$build/gpu/run-embed" ] || suite "embedder's times" 40 "$build/gpu/run-embed" time_encoder
fi

# --- others at the same work ---
peer() {
	local name=$1 limit=$2
	shift 2
	[ "$(left)" -ge 25 ] || { skip "peer $name: no time is left"; return; }
	[ "$limit" -le "$(left)" ] || limit=$(left)
	echo "== peer $name"
	timeout -k 5 "$limit" "$@" 2>"$log" | tee -a "$figures"
	[ "${PIPESTATUS[0]}" = 0 ] || { skip "peer $name: $(tail -n 1 "$log" | cut -c1-200)"; note missing "\"peer\": \"$name\", \"why\": \"it failed or took more than $limit s\""; }
}
if wanted peers; then
	peer torch 150 "$python" tests/gpu/peer_torch.py
	if command -v llama-bench >/dev/null; then
		peer llama.cpp 90 "$python" tests/gpu/peer_serving.py llama "$models"
	else
		skip "peer llama.cpp: no llama-bench in PATH"
		note missing '"peer": "llama.cpp", "why": "no llama-bench in PATH"'
	fi
	if "$python" -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("vllm") is None)' 2>/dev/null; then
		peer vllm 150 "$python" tests/gpu/peer_serving.py vllm "$models"
	else
		skip "peer vLLM: not importable"
		note missing '"peer": "vllm", "why": "not importable"'
	fi
fi

# --- accesses, races, barriers ---
if wanted sanitize; then
	sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
	if [ -z "$sanitizer" ]; then
		skip "sanitize: there is no compute-sanitizer"
	else
		for tool in memcheck racecheck synccheck; do
			[ "$(left)" -ge 30 ] || { skip "sanitize $tool: no time is left"; continue; }
			echo "== sanitize $tool"
			limit=$(($(left) - 10))
			[ $limit -le 90 ] || limit=90
			timeout -k 5 $limit "$sanitizer" --tool $tool --target-processes all "$build/gpu/run-kernels" tests/nn/ >"$log" 2>&1
			rc=$?
			bad=$(grep -E '(ERROR|RACECHECK) SUMMARY: ' "$log" | grep -vcE 'SUMMARY: 0 (errors|hazards)')
			good=$(grep -cE 'SUMMARY: 0 (errors|hazards)' "$log")
			note sanitize "\"tool\": \"$tool\", \"clean\": $good, \"bad\": $bad, \"over\": $((rc != 124 && rc != 137))"
			if [ "$bad" != 0 ]; then
				grep -E '^=========' "$log" | grep -vE 'SUMMARY: 0|COMPUTE-SANITIZER' | head -n 40
				fail "sanitize $tool: $bad processes with errors, $good without"
			elif [ "$good" = 0 ]; then
				skip "sanitize $tool: $(grep -E '^=========' "$log" | grep -v COMPUTE-SANITIZER | head -n 1)"
			else
				passed=$((passed + 1))
				echo "   $good processes without errors$([ $rc != 124 ] || echo "; not over after $limit s")"
			fi
		done
	fi
fi

echo "== report"
if "$python" tests/gpu/gpu_report.py "$figures" --json "$out/gpu.json" --report "$out/GPU.md"; then passed=$((passed + 1)); else fail report; fi
finish
