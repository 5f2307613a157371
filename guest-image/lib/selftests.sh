# SPDX-License-Identifier: Apache-2.0 OR MIT
# shellcheck shell=bash disable=SC2154 # common.sh and who sources this set what is not set here
# Selftests of the kernel, built from the source of the very kernel that guests run. Sourced.

# made_from_source RECIPE NAME ABOUT FILE...: has guest-image/RECIPE make what it makes of the
# kernel's source and those files, in the tools tree, and keeps it in the cache. For a kernel of the archive
# the source package is fetched once (165 MB). Its folder is the last line of output.
made_from_source() {
	local recipe=$1 name=$2 about=$3 made
	check_wish
	[ -e "$(kernel_path)/release" ] || die "there is no kernel yet: run guest-image/build"
	made=$cache/$name-$(printf '%s\n' "$(tools_path)" "$(kernel_name)" "$(digest "guest-image/$recipe" "${@:4}")" | hash_stdin)
	lock_cache
	if ! is_whole "$made"; then
		ensure_source
		mkdir "$made.part"
		step "building $about" "$here/in-tools" "$here/$recipe" --in-tree "$made.part"
		# Those for another kernel, or by an older recipe, that nobody uses any more.
		find "$cache" -maxdepth 1 -type d -name "$name-*" -mtime +7 -exec rm -r {} +
		finish "$made.part" "$made"
	fi
	touch "$made"
	printf '%s\n' "$made"
}
