#!/bin/bash
# pypi.sh: the Python packages of a requirements file (pinned, with checksums), for tests that drive the program with
# other people's clients, and for the CUDA compiler. They are unpacked once into the cache, in a folder named by the
# file's checksum, never into the system. Prints that folder, to be put into PYTHONPATH.
# Usage: tools/pypi.sh [--there] REQUIREMENTS   (--there: fetches nothing; fails where the folder is not there yet)
set -euo pipefail
there=
[ "$1" != --there ] || { there=1; shift; }
requirements=$1
cache=${XDG_CACHE_HOME:-$HOME/.cache}/footnote/pypi
dir=$cache/$(basename "$(dirname "$requirements")")-$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')-$(sha256sum "$requirements" | cut -c1-16)
if [ ! -d "$dir" ]; then
	[ -z "$there" ] || exit 1
	mkdir -p "$cache"
	exec 9>"$cache/lock"
	flock 9
	if [ ! -d "$dir" ]; then
		new=$(mktemp -d "$cache/new.XXXXXX")
		trap 'rm -rf "$new"' EXIT
		python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore --no-deps --only-binary :all: --require-hashes \
			--target "$new" -r "$requirements" >&2
		mv -T "$new" "$dir"
	fi
fi
echo "$dir"
