# SPDX-License-Identifier: Apache-2.0 OR MIT
# shellcheck shell=bash disable=SC2154 # common.sh and build set what is not set here
# The tools tree: made once, then used through in-tools. Sourced by build.

ensure_tools() {
	local tree
	tree=$(tools_path)
	[ ! -d "$tree" ] || return 0
	need mmdebstrap mmdebstrap
	need /usr/share/keyrings/debian-archive-keyring.gpg debian-archive-keyring
	step "making the tools tree from Debian packages (about 350 MB to download)" \
		"$here/tools/make-tree" "$tree.part"
	mv "$tree.part" "$tree"
}

# need FILE-OR-COMMAND PACKAGE: installs a package of the host if it is missing.
need() {
	local thing=$1 package=$2 sudo=()
	if [ -e "$thing" ] || command -v "$thing" >/dev/null; then return 0; fi
	command -v apt-get >/dev/null || die "needs $package, and this is no system with apt: install it by hand"
	if [ "$(id -u)" != 0 ]; then
		sudo=(sudo)
		may_sudo || die "needs $package: run 'apt-get install $package' as root"
	fi
	step "installing $package" install_package "$package" "${sudo[@]}"
}

# Without a password, or with somebody there to type it.
may_sudo() { command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; }

install_package() {
	local package=$1
	shift
	# A new machine has no package lists yet, an old one has stale ones.
	"$@" apt-get install -y --no-install-recommends "$package" ||
		{ "$@" apt-get update && "$@" apt-get install -y --no-install-recommends "$package"; }
}

# Files in there may be the tree's, and read-only folders.
discard() {
	local path
	for path in "$@"; do
		[ ! -e "$path" ] || { chmod -R u+w "$path" && rm -rf --one-file-system "$path"; }
	done
}
