# SPDX-License-Identifier: Apache-2.0 OR MIT
# shellcheck shell=bash disable=SC2154 # common.sh and build set what is not set here
# Rust programs: the guest's and the VMM. Sourced by build.

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
	local list=$1 package packages=()
	shift
	for package in "$@"; do packages+=(-p "$package"); done
	(cd "$repo" && with_rust env -u RUSTFLAGS -u CARGO_ENCODED_RUSTFLAGS -u CARGO_BUILD_TARGET \
		cargo build --locked --release --bins --target "$target" "${packages[@]}" --message-format json-render-diagnostics) |
		sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' >"$list"
}

# install_vmm IMAGE: the VMM is beside the image, but its sources are no part of
# the image's hash. A link that stays where it is leads to the newest.
install_vmm() {
	local image=$1 list=$cache/vmm.part program
	step "building farfault" build_programs "$list" farfault
	program=$(grep '/farfault$' "$list") || die "cargo made no farfault program (see $log)"
	if ! cmp -s "$program" "$image/farfault"; then
		cp "$program" "$image/farfault.part"
		mv "$image/farfault.part" "$image/farfault"
	fi
	discard "$list"
	ln -sfn "${image##*/}/farfault" "$cache/farfault"
}
