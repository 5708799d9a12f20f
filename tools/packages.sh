#!/bin/bash
# packages.sh: the distribution's packages that building, testing and the demo need, installed when they are missing.
# Nothing missing: says nothing and takes no time. Root, or sudo without a password: installs. Otherwise prints the one
# command to run and exits 1. The list of packages is brought up to date only when an install needs it.
# Usage: packages.sh [web]
set -euo pipefail
export LC_ALL=C DEBIAN_FRONTEND=noninteractive

packages=(
	gcc g++ make cmake                      # the program, and FAISS
	libutf8proc-dev libssl-dev libcjson-dev libstemmer-dev libarchive-dev  # base
	libopenblas-dev                         # nn, FAISS
	liblmdb-dev                             # index
	libmd4c-dev libgumbo-dev libmagic-dev libuchardet-dev libcsv-dev libxml2-dev libgmime-3.0-dev pkg-config libseccomp-dev  # ingest
	poppler-utils                           # ingest: pdftotext, a process of its own
	libmicrohttpd-dev                       # api
	ca-certificates python3                 # fetching models; lint and the tests over HTTP
	curl                                    # the demo
)
# Only for `make check-web`, which says so: a browser, and letters for it to show.
[ "${1:-}" != web ] || packages=(chromium fonts-dejavu-core python3)

die() { echo "packages.sh: $*" >&2; exit 1; }

command -v dpkg-query >/dev/null || die "not a Debian system: install these by their names here: ${packages[*]} python3-pip"
# Any pip will do for `pip download`; the distribution's is only needed where there is none.
python3 -m pip --version >/dev/null 2>&1 || /usr/bin/python3 -m pip --version >/dev/null 2>&1 || packages+=(python3-pip)

installed=" $(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${packages[@]}" 2>/dev/null | sed -n 's/^installed //p' | tr '\n' ' ' || true)"
missing=()
for package in "${packages[@]}"; do
	[[ $installed == *" $package "* ]] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" != 0 ]; then
	if ! sudo -n true 2>/dev/null; then
		echo "packages.sh: missing: ${missing[*]}" >&2
		echo "packages.sh: run this, then make again:  sudo apt-get install --no-install-recommends ${missing[*]}" >&2
		exit 1
	fi
	as_root=(sudo -n DEBIAN_FRONTEND=noninteractive)
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() {
	"${as_root[@]}" apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "${missing[@]}" >"$log" 2>&1
}
echo "packages.sh: installing ${missing[*]}"
# A list that cannot be brought up to date (somebody else's archive) may still do for what is needed here.
install || { "${as_root[@]}" apt-get -q -o DPkg::Lock::Timeout=300 update >"$log" 2>&1 || true; install; } || {
	grep -E '^(E|W|dpkg)' "$log" | tail -n 5 >&2 || true
	die "could not install: ${missing[*]}"
}
