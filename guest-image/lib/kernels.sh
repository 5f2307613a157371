# SPDX-License-Identifier: Apache-2.0 OR MIT
# shellcheck shell=bash disable=SC2154 # common.sh and who sources this set what is not set here
# Kernels' trees, each made once, that in-tools shows in the tools tree. Sourced.

# Which version a wish means is decided once, so the next run is quick, needs no
# network and builds for the same kernel. Who wants the newest removes the link.
ensure_kernel() {
	local link release version tree wanted
	link=$(kernel_path)
	! is_whole "$link" || return 0
	IFS=, read -ra wanted < <(kernel_wanted)
	step "asking the archive for kernel $(kernel_wanted)" ask_archive "$cache/choice.part" "${wanted[@]}"
	read -r release version <"$cache/choice.part"
	discard "$cache/choice.part"
	tree=$(kernel_tree "$version")
	if ! is_whole "$tree"; then
		need_room 1000
		step "making the tree of kernel $release (about 55 MB to download)" \
			"$here/in-tools" "$here/kernel/make-tree" "$cache/kernel.part" "$release" "$version"
		finish "$cache/kernel.part" "$tree"
	fi
	ln -sfn "${tree##*/}" "$link"
}

ask_archive() { "$here/in-tools" "$here/kernel/choose" "${@:2}" >"$1"; }

# The kernel's source, which only tests need.
ensure_source() {
	local source
	source=$(kernel_path)/usr/src/linux-source.tar.xz
	[ ! -e "$source" ] || return 0
	step "fetching the source of kernel $(cat "$(kernel_path)/version") (165 MB)" \
		"$here/in-tools" "$here/kernel/fetch-source" "$cache/source.part"
	mv "$cache/source.part" "$source"
	discard "$cache/source.part.packages"
	seal "$(kernel_path)"
}

# The kernel's own checks of sources, where make finds them: the header packages
# leave them out.
ensure_checkpatch() {
	local scripts
	scripts=$(echo "$(kernel_path)"/usr/src/linux-kbuild-*/scripts)
	[ ! -e "$scripts/checkpatch.pl" ] || return 0
	ensure_source
	mkdir "$cache/checkpatch.part"
	step "unpacking checkpatch" "$here/in-tools" tar -xJf /usr/src/linux-source.tar.xz -C "$cache/checkpatch.part" \
		--strip-components=2 --wildcards '*/scripts/checkpatch.pl' '*/scripts/spelling.txt' \
		'*/scripts/const_structs.checkpatch' '*/scripts/checker-valid.sh'
	# checkpatch.pl comes last: it says that all are there.
	cp "$cache"/checkpatch.part/*[!l] "$scripts/"
	mv "$cache/checkpatch.part/checkpatch.pl" "$scripts/"
	discard "$cache/checkpatch.part"
	seal "$(kernel_path)"
}
