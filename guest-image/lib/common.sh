# SPDX-License-Identifier: Apache-2.0 OR MIT
# shellcheck shell=bash
# What every script of guest-image/ shares: where things are, how a hash of
# inputs is made, how progress and failure are told. Sourced, not run.

# The checkout, the cache outside of it, and the log of what ran last.
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
cache=${XDG_CACHE_HOME:-${HOME:?is not set}/.cache}/farfault
log=$cache/build.log

say() { printf 'guest-image: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
usage_error() { say "$*"; exit 64; }

# step WHAT COMMAND...: runs a command quietly; its output is shown if it fails.
step() {
	local what=$1 start
	shift
	say "$what"
	printf '== %s\n' "$what" >>"$log"
	start=$(stat -c %s "$log")
	"$@" >>"$log" 2>&1 && return
	tail -c "+$((start + 1))" "$log" | tail -n 30 >&2
	die "failed: $what (the whole log is $log)"
}

# digest PATH...: one hash of the names and contents of all files below paths of
# the checkout, without what compilers leave beside sources.
digest() {
	(cd "$repo" && find "$@" -type f ! -name '*.md' ! -name '*.o' ! -name '*.ko' ! -name '*.mod' ! -name '*.mod.c' \
		! -name '.*.cmd' ! -name '*.symvers' ! -name modules.order -print0 | LC_ALL=C sort -z | xargs -0 sha256sum) |
		hash_stdin
}

hash_stdin() { sha256sum | cut -c 1-16; }

# The tools tree depends on its recipe only.
tools_path() { printf '%s/tools-%s\n' "$cache" "$(digest guest-image/tools)"; }

# The kernel that is wanted: a series or a version, or several, the best first.
kernel_wanted() { printf '%s\n' "${FARFAULT_KERNEL:-$(grep -v '^#' "$repo/guest-image/kernel/series" | paste -sd ,)}"; }

# Where its tree is: a link that is made when the archive is asked for it, to the
# tree of the exact version.
kernel_path() { kernel_tree "$(kernel_wanted)"; }
kernel_tree() { printf '%s/kernel-%s-%s\n' "$cache" "$1" "$(digest guest-image/kernel/make-tree)"; }

# check_kernel: a name of a folder is made of what the user says.
check_kernel() {
	[[ $(kernel_wanted) =~ ^[0-9]+(\.[0-9]+)+(,[0-9]+(\.[0-9]+)+)*$ ]] ||
		usage_error "'$(kernel_wanted)' is no kernel: name a series or a version of the archive, like 7.3 or 7.3.4"
}
