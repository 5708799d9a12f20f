#!/bin/bash
# check.sh: everything `make check` does, in order: packages, FAISS, a CUDA compiler, build, CUDA in it, the small models
# the tests use, lint, the tests of every room, then the suites of tests/cli, tests/http, tests/torture, tests/crash and
# tests/recall, and the floors of tests/eval. Each prints "N passed, N failed, N skipped"; the sum is the last line here.
# What cannot be built, fetched or run counts as a failure and is named: nothing is left out silently.
# Environment (set by the Makefile): MAKE, BUILD (folder), OPT (compiler options of a sanitizer build).
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
make=${MAKE:-make}
build=${BUILD:-build}
jobs=$(nproc)
passed=0 failed=0 skipped=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
options=(BUILD="$build")
[ -z "${OPT:-}" ] || options+=("OPT=$OPT")
unset OPT MODEL

fail() {
	failed=$((failed + 1))
	echo "FAIL $*"
}

finish() {
	echo "$passed passed, $failed failed, $skipped skipped"
	[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
	exit
}

# Runs a suite and adds its closing line; a suite that has none counts as one test.
suite() {
	local name=$1 rc line started=$SECONDS
	shift
	echo "== $name"
	"$@" 2>&1 | tee "$log"
	rc=${PIPESTATUS[0]}
	line=$(grep -E '^[0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?$' "$log" | tail -n 1)
	if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed(,\ ([0-9]+)\ skipped)?$ ]]; then
		passed=$((passed + BASH_REMATCH[1]))
		failed=$((failed + BASH_REMATCH[2]))
		skipped=$((skipped + ${BASH_REMATCH[4]:-0}))
		[ "$rc" = 0 ] || [ "${BASH_REMATCH[2]}" != 0 ] || fail "$name: exit code $rc though no test failed"
	elif [ "$rc" = 0 ]; then
		passed=$((passed + 1))
	else
		fail "$name: exit code $rc"
	fi
	echo "   ($name: $((SECONDS - started)) s)"
}

# Builds a target, quietly; its output is shown when it fails.
built() {
	"$make" --no-print-directory -s -j"$jobs" "${options[@]}" "$@" >"$log" 2>&1 && return
	grep -E 'error|Error|undefined|No rule|warning: unused|\.sh:' "$log" | head -n 20
	return 1
}

"$make" --no-print-directory -s packages || { fail "set-up: packages"; finish; }
"$make" --no-print-directory -s faiss || { fail "set-up: FAISS"; finish; }
"$make" --no-print-directory -s cuda-toolkit || fail "set-up: the CUDA toolkit"

echo "== build"
if built all "$build/tests/roofline" "$build/tests/failwrite.so"; then
	passed=$((passed + 1))
	for model in all-minilm-l6-v2 smollm2-135m qwen-0.5b; do
		"$build/footnote" models fetch "$model" || fail "models fetch $model"
	done
else
	rm -f "$build/footnote"
	fail "build"
fi

# All kernels compiled for the GPU, and in the program; what stands for them in a build without.
echo "== cuda build"
if built all "$build/nn/gpu_none.o" && nm "$build/footnote" | grep ' cuda_table$' >/dev/null; then passed=$((passed + 1)); else fail "cuda build"; fi

suite lint python3 tests/lint/lint.py
mkdir -p "$build/gpu"
export GPU_FIGURES=$build/gpu/host.jsonl
rm -f "$GPU_FIGURES"
for room in base nn embed generate index ingest api torture gpu; do
	compgen -G "tests/$room/*.c" >/dev/null || continue
	if built "$build/tests/run-$room"; then suite "$room" "$build/tests/run-$room"; else fail "$room: its tests do not build"; fi
done

# What `make gpu-check` runs is built, so that it cannot rot; without a GPU it says so with exit code 3. Its report is made of what the emulated
# device gave above.
if built gpu-programs; then
	"$build/gpu/ceilings" device >"$log" 2>&1
	case $? in 0 | 3) passed=$((passed + 1)) ;; *) fail "gpu-check: $(tail -n 1 "$log")" ;; esac
	suite "gpu-check's steps" python3 tests/gpu/test_gpu_steps.py
	suite "gpu-check's report" python3 tests/gpu/gpu_report.py "$GPU_FIGURES" --quiet --report "$build/gpu/host.md"
else
	fail "gpu-check: it does not build"
fi

# Suites that drive the built program from outside: each takes its path.
for file in tests/cli/*.py tests/http/*.py tests/torture/*.py tests/crash/*.py tests/recall/*.py; do
	if [ ! -e "$file" ] || [ "$(head -c 2 "$file")" != '#!' ]; then continue; fi
	if [ -x "$build/footnote" ]; then suite "$file" python3 "$file" "$build/footnote"; else fail "$file: there is no $build/footnote"; fi
done
# The floors under the figures of answers; a build with sanitizers asks a few questions and holds the promises alone.
floors=()
[ ${#options[@]} = 1 ] || floors=(--short)
if [ -x "$build/footnote" ]; then suite tests/eval/floors.py python3 tests/eval/floors.py "$build/footnote" "${floors[@]}"; else fail "tests/eval/floors.py: there is no $build/footnote"; fi
finish
