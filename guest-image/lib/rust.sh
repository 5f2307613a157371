# SPDX-License-Identifier: Apache-2.0 OR MIT
# shellcheck shell=bash disable=SC2154 # common.sh sets what is not set here
# Rust: the host's if it will do, else that of the tools tree. Sourced.

# A cargo that is new enough, with clippy and rustfmt, and a C library to link with
# statically? rustup picks the toolchain by the current directory.
host_rust() {
	local wanted have
	if [ -z "${host_rust_will_do:-}" ]; then
		wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$repo/Cargo.toml")
		have=$(cd "$repo" && cargo --version 2>/dev/null && cargo clippy --version && cargo fmt --version) 2>/dev/null &&
			printf '%s\n' "$wanted" "$(cut -d ' ' -f 2 <<<"$have" | head -n 1)" | sort -VC &&
			[[ $(cc -print-file-name=libc.a 2>/dev/null) == /* ]] &&
			host_rust_will_do=yes || host_rust_will_do=no
	fi
	[ "$host_rust_will_do" = yes ]
}

# What compiles, in one line: part of the hash of the image.
compiler() {
	if host_rust; then (cd "$repo" && rustc --version); else echo tools; fi
}

# Runs a command where cargo is: on a new machine without Rust, nowhere yet.
with_rust() {
	if host_rust; then
		"$@"
	else
		[ -d "$(tools_path)" ] || "$repo/guest-image/build" --tools >/dev/null || return
		"$repo/guest-image/in-tools" "$@"
	fi
}

# The folder where cargo puts programs.
# shellcheck disable=SC2034 # who sources this uses it
target=x86_64-unknown-linux-gnu
