# SPDX-License-Identifier: Apache-2.0 OR MIT
# shellcheck shell=bash disable=SC2154 # common.sh and build set what is not set here
# Rust programs: the guest's and the VMM, with the host's cargo if it will do,
# else with that of the tools tree. Sourced by build.

target=x86_64-unknown-linux-gnu

# What compiles, in one line: part of the hash of the image.
compiler() {
	if host_rust; then
		# rustup picks the toolchain by the current directory.
		(cd "$repo" && rustc --version)
	else
		echo tools
	fi
}

# A cargo that is new enough, and a C library to link with statically?
host_rust() {
	local wanted have
	if [ -z "${host_rust_will_do:-}" ]; then
		host_rust_will_do=no
		wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$repo/Cargo.toml")
		have=$(cd "$repo" && cargo --version 2>/dev/null | cut -d ' ' -f 2) || have=
		if [ -n "$have" ] && [ "$(printf '%s\n' "$wanted" "$have" | sort -V | head -n 1)" = "$wanted" ] &&
			[[ $(cc -print-file-name=libc.a 2>/dev/null) == /* ]]; then
			host_rust_will_do=yes
		fi
	fi
	[ "$host_rust_will_do" = yes ]
}

# folders HOW: those that guest-image/programs lists so. packages HOW: their names.
folders() { sed -n "s/^\($1\)  *\([^ #]*\)$/\2/p" "$here/programs"; }
packages() {
	local folder
	for folder in $(folders "$1"); do sed -n 's/^name = "\(.*\)"/\1/p' "$repo/$folder/Cargo.toml"; done
}

# build_programs LIST PACKAGE...: builds all programs of packages and writes their
# paths to LIST. Flags of the caller's environment would displace ours, which
# make programs static.
build_programs() {
	local list=$1 run=() package packages=()
	shift
	for package in "$@"; do packages+=(-p "$package"); done
	export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}
	host_rust || run=("$here/in-tools")
	(cd "$repo" && "$here/lib/own-target" "${run[@]}" env -u RUSTFLAGS -u CARGO_ENCODED_RUSTFLAGS -u CARGO_BUILD_TARGET \
		cargo build --locked --release --bins --target $target "${packages[@]}" --message-format json-render-diagnostics) |
		sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' >"$list"
}

# install_vmm IMAGE: the VMM is beside the image, but its sources are no part of
# the image's hash.
install_vmm() {
	local image=$1 list=$cache/vmm.part program
	step "building farfault" build_programs "$list" farfault
	program=$(grep '/farfault$' "$list") || die "cargo made no farfault program (see $log)"
	if ! cmp -s "$program" "$image/farfault"; then
		cp "$program" "$image/farfault.part"
		mv "$image/farfault.part" "$image/farfault"
	fi
	discard "$list"
}
