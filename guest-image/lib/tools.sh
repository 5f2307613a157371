# SPDX-License-Identifier: Apache-2.0 OR MIT
# shellcheck shell=bash disable=SC2154 # common.sh and build set what is not set here
# The tools tree: made once, then used through in-tools. Sourced by build.

ensure_tools() {
	local tree wanted
	tree=$(tools_path)
	! is_whole "$tree" || return 0
	may_mount
	wanted=(mmdebstrap mmdebstrap /usr/share/keyrings/debian-archive-keyring.gpg debian-archive-keyring)
	[ "$(id -u)" = 0 ] || wanted+=(newuidmap uidmap)
	need "${wanted[@]}"
	[ "$(id -u)" = 0 ] || grep -qE "^($(id -un)|$(id -u)):" /etc/subuid ||
		lacking "$(id -un) has no user ids to give to a tree: run 'usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $(id -un)' as root"
	need_room 2500
	step "making the tools tree from Debian packages (about 350 MB to download)" \
		"$here/tools/make-tree" "$tree.part"
	finish "$tree.part" "$tree"
}

# May we mount? Without root, in a user namespace that makes us root in there.
may_mount() {
	# A chroot cannot change the propagation of /, see private_folder().
	namespaces=(--mount --propagation unchanged)
	[ "$(id -u)" = 0 ] || namespaces+=(--user --map-root-user)
	unshare "${namespaces[@]}" true 2>/dev/null && return
	[ "$(id -u)" != 0 ] ||
		lacking "root may not mount here, for lack of CAP_SYS_ADMIN: start the container with --privileged, or run as a user where user namespaces are allowed"
	lacking "this user may make no user namespace: run as root, or have root allow them (sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns)"
}

# need FILE-OR-COMMAND PACKAGE...: installs packages of the host that are missing.
need() {
	local missing=() sudo=()
	while [ $# -gt 0 ]; do
		[ -e "$1" ] || command -v "$1" >/dev/null || missing+=("$2")
		shift 2
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	command -v apt-get >/dev/null || lacking "needs ${missing[*]}, and this is no system with apt: install them by hand"
	if [ "$(id -u)" != 0 ]; then
		sudo=(sudo)
		may_sudo || lacking "needs ${missing[*]}: run 'apt-get install ${missing[*]}' as root"
	fi
	# A new machine has no package lists yet, an old one has stale ones.
	step "installing ${missing[*]}" "${sudo[@]}" sh -c 'apt-get install -y --no-install-recommends "$@" ||
		{ apt-get update && apt-get install -y --no-install-recommends "$@"; }' sh "${missing[@]}"
}

# Without a password, or with somebody there to type it.
may_sudo() { command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; }
