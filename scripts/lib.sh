# SPDX-License-Identifier: Apache-2.0 OR MIT
# shellcheck shell=bash
# What the scripts share. Source it from the top of the checkout.

cache=${XDG_CACHE_HOME:-$HOME/.cache}/farfault
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}

# Says one line to the person at the terminal.
say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

# Says why, and ends.
die() { say "$*"; exit 1; }

# Is there a cargo here that is new enough, with clippy and rustfmt?
host_cargo_will_do() {
	local wanted have
	wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
	have=$(cargo --version 2>/dev/null | cut -d' ' -f2) || return 1
	[ "$(printf '%s\n%s\n' "$wanted" "$have" | sort -V | head -n 1)" = "$wanted" ] &&
		cargo clippy --version >/dev/null 2>&1 && cargo fmt --version >/dev/null 2>&1 &&
		command -v cc >/dev/null
}

# Runs cargo with a C compiler: the host's, or those of the tools tree.
with_rust() {
	if [ -z "${rust_from:-}" ]; then
		if host_cargo_will_do; then rust_from=host; else rust_from=tools; fi
	fi
	local wrap=(guest-image/lib/own-target)
	[ "$rust_from" = host ] || wrap+=(guest-image/in-tools)
	"${wrap[@]}" "$@"
}
