# SPDX-License-Identifier: Apache-2.0 OR MIT
# shellcheck shell=bash
# What all scripts share: where things are, how progress and failure are told, how
# a hash of inputs is made. Sourced, not run.

# With these of the caller's settings cd prints, and others may not read what is made.
unset CDPATH
umask 022

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "$*"; exit 1; }
usage_error() { say "$*"; exit 64; }
# What the host or the archive lacks.
lacking() { say "$*"; exit 69; }

# What a script says of itself at its top.
usage() { (cd "$called_from" && sed -n '3,/^[^#]/s/^# \{0,1\}//p' "$0"); }

# need_value "$@": an option's value follows it.
need_value() { [ -n "${2:-}" ] || usage_error "$1 needs a value; see --help"; }

# Relative paths are the caller's, whatever folder a script goes to.
called_from=$PWD

HOME=${HOME:-$(getent passwd "$(id -u)" | cut -d : -f 6)}
[ -n "$HOME" ] || lacking "HOME is not set, and this user has no home: set HOME"
export HOME

# The checkout, the cache outside of it, and the log of what ran last.
repo=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")
cache=$(realpath -m "${XDG_CACHE_HOME:-$HOME/.cache}/farfault")
log=$cache/build.log

# Cargo's products, for each checkout its own: by time stamps and the place in the
# workspace, cargo cannot tell what another checkout has built from ours.
CARGO_TARGET_DIR=$(realpath -m "${CARGO_TARGET_DIR:-$cache/target-$(printf '%s' "$repo" | sha256sum | cut -c 1-8)}")
export CARGO_TARGET_DIR

[[ $cache$CARGO_TARGET_DIR != *[[:space:]:]* ]] ||
	lacking "make takes no space or colon in $cache or $CARGO_TARGET_DIR: set XDG_CACHE_HOME or CARGO_TARGET_DIR to another folder"

# need_room MIB: has the disk as much?
need_room() {
	local free
	free=$(df --output=avail -B 1M "$cache" | tail -n 1)
	[ "$free" -ge "$1" ] ||
		lacking "the disk is full: $cache needs $1 MiB, and there are $((free)); make room, or set XDG_CACHE_HOME to another folder"
}

# step WHAT COMMAND...: runs a command quietly; if it fails, $explain reads its output, or the
# end of that is shown. One that ends with 69 has said in its last line what is lacking.
step() {
	local what=$1 start code
	shift
	say "$what"
	printf '== %s\n' "$what" >>"$log"
	start=$(stat -c %s "$log")
	"$@" >>"$log" 2>&1 && return
	code=$?
	need_room 50
	[ $code != 69 ] || lacking "$(tail -n 1 "$log" | cut -d ' ' -f 2-)"
	"${explain:-show_end}" "$what" < <(tail -c "+$((start + 1))" "$log")
}

# show_end WHAT: that failed, and with this output.
show_end() {
	tail -n 30 >&2
	die "failed: $1 (the whole log is $log)"
}

# digest PATH...: one hash of the names and contents of all files below paths of
# the checkout, without what compilers leave beside sources.
digest() {
	(cd "$repo" && find "$@" -type f ! -name '*.md' ! -name '*.o' ! -name '*.ko' ! -name '*.mod' ! -name '*.mod.c' \
		! -name '.*.cmd' ! -name '*.symvers' ! -name modules.order -print0 | LC_ALL=C sort -z | xargs -0 sha256sum) |
		hash_stdin
}

hash_stdin() { sha256sum | cut -c 1-16; }

# The lock of all who make something in the cache; what a build that was
# interrupted has left behind goes.
lock_cache() {
	mkdir -p "$cache"
	exec {lock}>"$cache/lock"
	flock --nonblock "$lock" || { say "waiting for another build"; flock "$lock"; }
	: >"$log"
	discard "$cache"/*.part*
}

# Files in there may be the tree's, and read-only folders.
discard() {
	local path
	for path in "$@"; do
		[ ! -e "$path" ] || { chmod -R u+w "$path" && rm -rf --one-file-system "$path"; }
	done
}

# A tree of the cache is whole while its files have the names and sizes that they
# had when it was finished. The VMM beside an image is no part of it.
listing() { (cd "$1" && find . -type f ! -name listing ! -path './farfault*' -printf '%s %p\n' | LC_ALL=C sort | hash_stdin); }
seal() { listing "$1" >"$1/listing"; }
is_whole() {
	[ -e "$1" ] || return 1
	[ "$(listing "$1")" = "$(cat "$1/listing" 2>/dev/null)" ] || { say "$1 is damaged: making it anew"; return 1; }
}

# finish PART TREE: takes PART for TREE.
finish() {
	seal "$1"
	discard "$2"
	mv "$1" "$2"
}

# The tools tree depends on its recipe only.
tools_path() { printf '%s/tools-%s\n' "$cache" "$(digest guest-image/tools)"; }

# shellcheck source=guest-image/lib/wish.sh
. "$repo/guest-image/lib/wish.sh"
