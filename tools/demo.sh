#!/bin/bash
# demo.sh: documents in, a cited answer out, over HTTP: models, a data folder of its own (BUILD/demo-data), ingest of
# corpora/handbook, `serve` on a free port, one question. On a terminal it serves until Ctrl-C, otherwise it stops what it
# started. A second run fetches and builds nothing.
# Environment (set by the Makefile): BUILD, MODEL (the generator). QUESTION: another question.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${BUILD:-build}
model=${MODEL:-qwen-1.5b}
question=${QUESTION:-When does the occupational physician come to Harbour Street?}
footnote=$build/footnote
data=$build/demo-data
server=

die() { echo "demo.sh: $*" >&2; exit 1; }
stop() {
	[ -z "$server" ] || { kill "$server" 2>/dev/null && wait "$server" 2>/dev/null || true; server=; }
}
trap stop EXIT
trap 'exit 130' INT TERM

for tool in curl python3; do command -v $tool >/dev/null || die "$tool is missing: run tools/packages.sh"; done
echo "== models"
"$footnote" models fetch all-minilm-l6-v2
"$footnote" models fetch "$model"

mkdir -p "$data"
printf 'generate.model = %s\nserve.listen = 127.0.0.1:0\n' "$model" >"$build/demo.conf"

echo "== ingest"
"$footnote" -c "$build/demo.conf" --data "$data" ingest corpora/handbook

echo "== serve"
: >"$build/demo.out" # the shell that starts the service may be slower than the first look, and an older address misleads
"$footnote" -c "$build/demo.conf" --data "$data" serve >"$build/demo.out" 2>"$build/demo.log" &
server=$!
url=
for ((i = 0; ; i++)); do
	url=$(sed -n 's/^listening on //p' "$build/demo.out")
	[ -n "$url" ] && curl -s -f -o /dev/null "$url/readyz" && break
	kill -0 "$server" 2>/dev/null || { tail -n 5 "$build/demo.log" >&2; server=; die "the service did not start"; }
	[ "$i" -lt 600 ] || die "the service is not ready after two minutes: $build/demo.log"
	sleep 0.2
done
echo "listening on $url"

echo "== ask"
echo "$question"
python3 -c 'import json, sys; print(json.dumps({"question": sys.argv[1]}))' "$question" |
	curl -s -S --max-time 300 -H 'Content-Type: application/json' --data-binary @- "$url/v1/answers" >"$build/demo-answer.json" ||
	die "no answer came: $build/demo.log"
python3 - "$build/demo-answer.json" <<'PYTHON'
import json, sys
answer = json.load(open(sys.argv[1]))
if "error" in answer:
    sys.exit("demo.sh: " + answer["error"]["message"])
print("\n" + answer["answer"] + "\n")
for c in answer["citations"]:
    page = f'page {c["page"]}, ' if c["page"] else ""
    print(f'[{c["n"]}] {c["title"]} ({c["source"]}, {page}characters {c["start"]} to {c["end"]})\n    "{c["quote"]}"')
print(f'\n{answer["status"]} by {answer["model"] or "quotes alone"} in {answer["timings_ms"]["total"] / 1000:.1f} s')
if answer["status"] == "abstained" or not answer["citations"]:
    sys.exit("demo.sh: an answer with footnotes was expected")
PYTHON

echo "The page: $url/"
if [ -t 1 ] && [ -t 0 ]; then
	trap 'exit 0' INT
	echo "Ctrl-C stops the service."
	wait "$server"
else
	echo "No terminal here: the service is stopped again."
fi
