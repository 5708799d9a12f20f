#!/bin/bash
# check_web.sh: the page in the distribution's Chromium. Installs the browser where it is missing, puts what drives it
# (tests/browser/requirements.txt, by checksum) into a folder of the cache, and runs tests/browser/run.py, whose last
# line is "N passed, N failed, N skipped". Pictures of the page are left in BUILD/web.
# Environment (set by the Makefile): BUILD, CACHE. Arguments: names of tests.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${BUILD:-build}
wanted=tests/browser/requirements.txt
tools/packages.sh web
python=python3
"$python" -m pip --version >/dev/null 2>&1 || python=/usr/bin/python3
"$python" -m pip --version >/dev/null 2>&1 || tools/packages.sh

# A folder a list of checksums, complete once its stamp is there.
driver=$CACHE/web-$(cat "$wanted" <("$python" -V) | sha256sum | cut -c1-16)
if [ ! -e "$driver/stamp" ]; then
	part=$(mktemp -d "$CACHE/web-part-XXXXXX")
	trap 'rm -rf "$part"' EXIT
	"$python" -m pip install -q --disable-pip-version-check --root-user-action=ignore --no-deps --only-binary :all: \
		--require-hashes --target "$part" -r "$wanted"
	touch "$part/stamp"
	rm -rf "$driver"
	mv -T "$part" "$driver" 2>/dev/null || [ -e "$driver/stamp" ] # or another run has just put it there
fi
"$build/footnote" models fetch all-minilm-l6-v2
rm -rf "$build/web"
PYTHONPATH=$driver "$python" tests/browser/run.py "$build/footnote" "$build/web" "$@"
