#!/bin/bash
# faiss.sh: builds FAISS with its C API and AVX2 from the distribution's source package, once for every clone.
#
# The distribution's binary package has the C API's headers but neither its symbols nor AVX2, so the same version is
# built from the source package: the machine's own package lists are copied into a private folder with `deb` turned to
# `deb-src` (the system's lists stay as they are), apt fetches and verifies the source, and its checksum is compared
# with the one below. Result: FOLDER/include/faiss/..., FOLDER/include/faiss/c_api/..., FOLDER/lib/libfaiss_c.a and
# libfaiss_avx2.a, and FOLDER/stamp with the checksums of both. It is built beside FOLDER and renamed at the end; a
# lock lets a second clone wait for the first. A run that finds a whole FOLDER returns at once.
#
# Usage: tools/faiss.sh FOLDER      (JOBS=n: compile jobs)
set -euo pipefail
export LC_ALL=C
unset CFLAGS CXXFLAGS CPPFLAGS LDFLAGS MAKEFLAGS MFLAGS MAKELEVEL

version=1.7.3
tarball=faiss_$version.orig.tar.gz
tarball_sha256=3e4fac26d8c9e9008ecea4ae5fc414c658998fce4ba75835058b1a71d3516002

die() { echo "faiss.sh: $*" >&2; exit 1; }

[ $# = 1 ] || die "usage: tools/faiss.sh FOLDER"
folder=$1
parent=$(dirname "$folder")
mkdir -p "$parent" || die "cannot make the folder $parent"

# Whole: the stamp is of this version and both libraries still have the checksums it names.
is_whole() {
	[ -f "$folder/stamp" ] && grep -qx "# faiss $version $tarball_sha256" "$folder/stamp" &&
		(cd "$folder" && sha256sum --check --quiet --status stamp)
}
is_whole && exit 0

[ "$(uname -m)" = x86_64 ] || die "only x86-64 is supported, this machine is $(uname -m)"
for tool in g++ cmake make tar flock sha256sum; do
	command -v $tool >/dev/null || die "$tool is missing: run tools/packages.sh"
done
echo 'int main(){}' | g++ -xc++ -o /dev/null - -lopenblas 2>/dev/null || die "libopenblas-dev is missing: run tools/packages.sh"

exec 9>"$folder.lock"
flock -n 9 || { echo "faiss.sh: another build is running, waiting for it"; flock 9; }
is_whole && exit 0

work=$(mktemp -d "$parent/faiss-build.XXXXXX")
trap 'rm -rf "$work"' EXIT
log=$work/log

# The deb-src form of this release's main section: $1 is a package list in the one-line form.
sources_from_list() {
	awk -v release="$release" '
	{ sub(/#.*/, "") }
	$1 == "deb" || $1 == "deb-src" {
		opts = ""; rest = $0; sub(/^[ \t]*deb(-src)?[ \t]+/, "", rest)
		if (match(rest, /^\[[^]]*\][ \t]*/)) { opts = substr(rest, 1, RLENGTH); rest = substr(rest, RLENGTH + 1) }
		n = split(rest, f)
		if (f[1] ~ /^cdrom:/ || f[2] != release) next
		for (i = 3; i <= n; i++) if (f[i] == "main") { print "deb-src " opts f[1] " " f[2] " main"; next }
	}' "$1"
}

# The same for a list of stanzas (deb822): fields and their continuation lines are kept, three fields rewritten.
sources_from_stanzas() {
	awk -v release="$release" '
	function has(words, word,   f, n, i) { n = split(words, f); for (i = 1; i <= n; i++) if (f[i] == word) return 1; return 0 }
	function flush() {
		if (has(suites, release) && has(components, "main") && uris && tolower(enabled) !~ /no|false|off|0/)
			printf "Types: deb-src\nSuites: %s\nComponents: main\n%s\n", release, rest
		rest = suites = components = uris = enabled = field = ""
	}
	/^[ \t]*$/ { flush(); next }
	/^#/ { next }
	{
		value = $0
		if (/^[^ \t]/) { field = tolower($0); sub(/:.*/, "", field); sub(/^[^:]*:/, "", value) }
		if (field == "suites") suites = suites " " value
		else if (field == "components") components = components " " value
		else if (field == "enabled") enabled = value
		else if (field != "types") { if (field == "uris") uris = 1; rest = rest $0 "\n" }
	}
	END { flush() }' "$1"
}

# Puts the source tarball into $work.
fetch() {
	command -v apt-get >/dev/null || die "apt-get is missing: FAISS is built from the distribution's source package"
	local release list parts file found
	release=$(. /etc/os-release && echo "${VERSION_CODENAME:-bookworm}")
	eval "$(apt-config shell list Dir::Etc::sourcelist/f parts Dir::Etc::sourceparts/d)"
	mkdir -p "$work/parts" "$work/lists/partial" "$work/cache/archives/partial"
	for file in "$list" "$parts"/*.list; do
		[ -f "$file" ] || continue
		sources_from_list "$file"
	done | sort -u >"$work/parts/own.list"
	for file in "$parts"/*.sources; do
		[ -f "$file" ] || continue
		sources_from_stanzas "$file"
	done >"$work/parts/own.sources"
	grep -q deb-src "$work"/parts/own.* ||
		die "no package list names $release main (looked in $list and $parts)"
	local options=(-q -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$work/parts"
		-o Acquire::Retries=2 -o Acquire::http::Timeout=30 -o Acquire::https::Timeout=30
		-o Dir::State::lists="$work/lists" -o Dir::Cache="$work/cache" -o APT::Sandbox::User="$(id -un)")
	# One list that cannot be read must not stop the others: what counts is whether the source is found.
	apt-get "${options[@]}" update >>"$log" 2>&1 || true
	found=$(apt-cache "${options[@]}" showsrc --only-source faiss 2>>"$log" | sed -n "s/^Version: \($version-.*\)/\1/p" | head -n 1 || true)
	if [ -z "$found" ]; then
		grep -E '^(E|W|Err)' "$log" | tail -n 3 >&2 || true
		die "the source package faiss $version was not found in $release main (no network?)"
	fi
	(cd "$work" && apt-get "${options[@]}" source --download-only --only-source "faiss=$found" >>"$log" 2>&1) || {
		grep -E '^(E|W|Err)' "$log" | tail -n 3 >&2 || true
		die "the source package faiss $found could not be fetched"
	}
}

started=$SECONDS
echo "faiss.sh: fetching the source of FAISS $version"
fetch
[ -f "$work/$tarball" ] || die "the source package holds no $tarball"
got=$(sha256sum "$work/$tarball" | cut -d ' ' -f 1)
[ "$got" = "$tarball_sha256" ] || die "$tarball: wrong checksum: expected $tarball_sha256, got $got"
tar -xzf "$work/$tarball" -C "$work"

jobs=${JOBS:-$(nproc)}
echo "faiss.sh: building FAISS $version with $jobs jobs (a minute or three)"
build() {
	cmake -S "$work/faiss-$version" -B "$work/build" -DCMAKE_BUILD_TYPE=Release -DCMAKE_POSITION_INDEPENDENT_CODE=ON \
		-DCMAKE_CXX_FLAGS="-ffile-prefix-map=$work=." -DBLA_VENDOR=OpenBLAS -DFAISS_ENABLE_C_API=ON -DFAISS_OPT_LEVEL=avx2 -DFAISS_ENABLE_GPU=OFF \
		-DFAISS_ENABLE_PYTHON=OFF -DBUILD_TESTING=OFF &&
		make -C "$work/build" -j"$jobs" faiss_avx2 &&
		# "/fast": without what it depends on, which would be the whole library again without AVX2.
		make -C "$work/build/c_api" -j"$jobs" faiss_c/fast
}
build >"$log" 2>&1 || { tail -n 15 "$log" >&2; die "the build of FAISS failed"; }

new=$work/new
mkdir -p "$new/lib" "$new/include/faiss/c_api"
install_headers() { (cd "$1" && find . -name '*.h' -not -path './gpu/*' -not -path './python/*' -print0 | tar -c --null -T - ) | tar -x -C "$2"; }
install_headers "$work/faiss-$version/faiss" "$new/include/faiss"
install_headers "$work/faiss-$version/c_api" "$new/include/faiss/c_api"
cp "$work/build/faiss/libfaiss_avx2.a" "$work/build/c_api/libfaiss_c.a" "$new/lib/"
cp "$work/faiss-$version/LICENSE" "$new/"
(cd "$new" && { echo "# faiss $version $tarball_sha256"; sha256sum lib/libfaiss_avx2.a lib/libfaiss_c.a; } >stamp)

if [ -e "$folder" ]; then mv "$folder" "$work/old"; fi
mv -T "$new" "$folder"
echo "faiss.sh: FAISS $version is in $folder ($((SECONDS - started)) s)"
