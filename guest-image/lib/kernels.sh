# SPDX-License-Identifier: Apache-2.0 OR MIT
# shellcheck shell=bash disable=SC2154 # common.sh and who sources this set what is not set here
# Kernels' trees, each made once, that in-tools shows in the tools tree. Sourced.

# check_wish: what the caller named is there, and is what it passes for. Comes before
# anything is made.
check_wish() {
	local wanted release version
	wanted=$(kernel_wanted)
	case $(kernel_kind) in
	made) [ -e "$wanted/release" ] || usage_error "'$wanted' is no kernel: there is no such folder" ;;
	debs) read_debs ;;
	folder) check_folder "$wanted" ;;
	esac
}

check_folder() {
	local tree=$1 config=$1/.config file
	[ -d "$tree" ] || usage_error "'$tree' is no kernel: there is no such folder"
	[ -e "$(source_of "$tree")/scripts/package/install-extmod-build" ] ||
		usage_error "$tree is no kernel tree of these years: it has no scripts/package/install-extmod-build"
	[ -e "$config" ] || usage_error "$tree is not built: it has no .config"
	grep -qx CONFIG_X86_64=y "$config" || usage_error "$tree is for another architecture than x86-64"
	require_options "$config" "$tree"
	for file in "$tree/include/config/kernel.release" "$(kernel_file "$tree")"; do
		[ -e "$file" ] || usage_error "$tree is not built: run make in there"
	done
	[ -e "$tree/Module.symvers" ] ||
		usage_error "$tree has no Module.symvers: run 'make modules' in there"
	(cd "$tree" && sed 's/\.o$/.ko/' modules.order | xargs -r -d '\n' stat) >/dev/null 2>&1 ||
		usage_error "$tree lacks modules that its modules.order lists: run 'make modules' in there"
}

# read_debs: the release, and the version, of the kernel in the packages that are wanted.
read_debs() {
	local files file package image='' headers=''
	IFS=, read -ra files < <(kernel_wanted)
	for file in "${files[@]}"; do
		[ -e "$file" ] || usage_error "'$file' is no kernel: there is no such file"
		package=$(dpkg-deb -f "$file" Package 2>/dev/null) ||
			usage_error "'$file' is no kernel: it is no Debian package"
		case $package in
		linux-headers-*-common) ;;
		linux-headers-*) headers=${package#linux-headers-} ;;
		linux-image-* | linux-binary-*) image=${package#linux-*-} ;;
		esac
	done
	release=${image%-unsigned}
	[ -n "$release" ] || usage_error "none of the packages is linux-image: $(kernel_wanted)"
	[ -n "$headers" ] || usage_error "none of the packages is linux-headers, to build the driver with: $(kernel_wanted)"
	version=$(for file in "${files[@]}"; do dpkg-deb -f "$file" Version; done | sort -u | paste -sd ' ')
	[[ $headers = "$release" && $version != *' '* ]] ||
		usage_error "the packages are not of one kernel: image $release, headers $headers, of $version"
}

# require_options CONFIG WHAT: a configuration has what init and the driver need.
require_options() {
	local lacks
	lacks=$({ needed_options; grep '^CONFIG' "$repo/guest-image/kernel/needed.config"; } |
		grep -vxFf "$1" | sed 's/=y$//' | paste -sd ' ') || true
	[ -z "$lacks" ] || lacking "$2 lacks $lacks"
}

# What init needs, as a fragment of a configuration.
needed_options() { sed '/^#/d; s/.*/CONFIG_&=y/' "$repo/guest-image/init/needed-options"; }

# The kernel that is wanted, and the first guest's. From here on the wish is for this very
# tree: a folder may be built anew meanwhile.
ensure_kernel() {
	local tree
	for_first_guest ensure_archive "$(for_first_guest kernel_path)"
	tree=$(kernel_path)
	is_whole "$tree" || "ensure_$(kernel_kind)" "$tree"
	require_options "$tree/usr/src/linux/.config" "Linux $(cat "$tree/release")"
	[ "$(kernel_kind)" = archive ] || export FARFAULT_KERNEL=$tree
}

# Which version a wish means is decided once, so the next run is quick, needs no
# network and builds for the same kernel. Who wants the newest removes the link.
ensure_archive() {
	local link=$1 release version tree wanted
	! is_whole "$link" || return 0
	IFS=, read -ra wanted < <(kernel_wanted)
	step "asking the archive for kernel $(kernel_wanted)" ask_archive "$cache/choice.part" "${wanted[@]}"
	read -r release version <"$cache/choice.part"
	discard "$cache/choice.part"
	tree=$(kernel_tree "$version-${release#*-}" from-archive)
	if ! is_whole "$tree"; then
		make_kernel "$tree" "making the tree of kernel $release (about 55 MB to download)" \
			"$here/in-tools" "$here/kernel/from-archive" "$cache/kernel.part" "$release" "$version"
	fi
	ln -sfn "${tree##*/}" "$link"
}

ask_archive() { "$here/in-tools" "$here/kernel/choose" "${@:2}" >"$1"; }

# make_kernel TREE STEP...: what the step leaves in kernel.part is the tree.
make_kernel() {
	need_room 1000
	step "${@:2}"
	finish "$cache/kernel.part" "$1"
}

ensure_folder() {
	local folder
	folder=$(kernel_wanted)
	make_kernel "$1" "making a tree of the kernel in $folder" copy_folder "$folder"
}

# What has debugging information stays in the user's folder.
copy_folder() {
	"$here/kernel/from-folder" "$cache/kernel.part" "$1" &&
		printf '%s\n' "$1" >"$cache/kernel.part/folder"
}

ensure_debs() {
	local release version
	read_debs
	make_kernel "$1" "making the tree of kernel $release" unpack_debs "$release" "$version"
}

# The tools tree does not show where the user has them.
unpack_debs() {
	local files
	IFS=, read -ra files < <(kernel_wanted)
	mkdir "$cache/kernel.part"
	cp "${files[@]}" "$cache/kernel.part/"
	"$here/in-tools" "$here/kernel/from-debs" "$cache/kernel.part" "$@"
}

ensure_made() { die "make it anew from what it was made of"; }

ensure_checking() {
	for_first_guest ensure_source
	need_room 6000
	make_kernel "$1" "building the kernel $(kernel_wanted) (minutes)" build_checking "$cache/checking.part"
}

build_checking() {
	"$here/in-tools" "$here/kernel/from-source" "$1" \
		"$(for_first_guest kernel_path)/usr/src/linux-source.tar.xz" "$(kernel_wanted)" &&
		"$here/kernel/from-folder" "$cache/kernel.part" "$1" &&
		discard "$1" "$1.config"
}

# The kernel's source, which only tests need. All but the archive's have theirs already.
ensure_source() {
	local source
	source=$(kernel_path)/usr/src/linux-source.tar.xz
	[ ! -e "$source" ] || return 0
	[ "$(kernel_kind)" = archive ] ||
		lacking "there is no source of this kernel, for its selftests: name its linux-source package, too"
	step "fetching the source of kernel $(cat "$(kernel_path)/version") (165 MB)" \
		"$here/in-tools" "$here/kernel/fetch-source" "$cache/source.part"
	mv "$cache/source.part" "$source"
	discard "$cache/source.part.packages"
	seal "$(kernel_path)"
}

# The kernel's own checks of sources, where make finds them: the header packages
# leave them out. Of a user's packages, which may come without the source, none are made.
ensure_checkpatch() {
	local scripts
	scripts=$(kernel_path)/usr/src/linux/scripts
	[ ! -e "$scripts/checkpatch.pl" ] || return 0
	[ -e "$(kernel_path)/usr/src/linux-source.tar.xz" ] || [ "$(kernel_kind)" = archive ] || return 0
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
