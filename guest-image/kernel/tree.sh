# SPDX-License-Identifier: Apache-2.0 OR MIT
# shellcheck shell=bash
# What all kernels' trees have: usr/src/linux, which makes modules for it; its modules;
# vmlinuz beside them; vmlinux, release, version. Sourced in the tools tree, after common.sh.

# unpack_packages TREE RELEASE: puts packages that lie in TREE where all have their parts.
unpack_packages() {
	local tree=$1 release=$2 modules=$1/usr/lib/modules/$2 package
	for package in "$tree"/*.deb; do
		dpkg-deb -x "$package" "$tree"
		rm "$package"
	done
	# Packages that make bindeb-pkg makes know /lib, and have image and configuration in /boot.
	mkdir -p "$modules"
	[ ! -d "$tree/lib/modules" ] || cp -al "$tree/lib/modules" "$tree/usr/lib/"
	gather_kbuild "$tree"
	ln -s "linux-headers-$release" "$tree/usr/src/linux"
	if [ -e "$tree/boot/vmlinuz-$release" ]; then
		mv "$tree/boot/vmlinuz-$release" "$modules/vmlinuz"
		cp "$tree/boot/config-$release" "$tree/usr/src/linux/.config"
	fi
	for package in "$tree"/usr/src/linux-source-*.tar.xz; do
		[ ! -e "$package" ] || mv "$package" "$tree/usr/src/linux-source.tar.xz"
	done
	rm -rf "${tree:?}"/{boot,etc,lib,usr/share,usr/lib/debug}
}

# All that makes modules in one folder, for in-tools to show at /usr/src: Debian's
# packages have a part of it elsewhere.
gather_kbuild() {
	local tree=$1 folder name link
	for folder in "$tree"/usr/lib/linux-kbuild-*; do
		[ -d "$folder" ] || continue
		name=${folder##*/}
		rm "$tree/usr/src/$name"
		mv "$folder" "$tree/usr/src/"
		find "$tree"/usr/src/linux-headers-* -type l -lname "../../lib/$name/*" | while read -r link; do
			ln -sfn "../$name/${link##*/}" "$link"
		done
	done
}

# The kernel as ELF, out of the bzImage: where it lies in there is in the boot
# protocol's header (setup_sects, payload_offset, payload_length).
unpack_kernel() {
	local image=$1 offset length
	number() { od -An -t "u$2" -j "$1" -N "$2" "$image" | tr -d ' '; }
	payload() { dd if="$image" iflag=skip_bytes,count_bytes bs=1M skip="$offset" count="$1" status=none; }
	[ "$(od -An -c -j 514 -N 4 "$image" | tr -d ' ')" = HdrS ] || die "$image is not a bzImage"
	offset=$((($(number 497 1) + 1) * 512 + $(number 584 4)))
	length=$(number 588 4)
	# The last four bytes are the unpacked size, which belongs to no format but gzip's.
	case $(payload 4 | od -An -t x1 | tr -d ' ') in
	1f8b*) payload "$length" | gzip -dc >"$2" ;;
	28b52ffd) payload $((length - 4)) | zstd -dqc >"$2" ;;
	fd377a58) payload $((length - 4)) | xz -dc >"$2" ;;
	*) lacking "the kernel in $image is packed with neither gzip, xz nor zstd" ;;
	esac
}

# finish_tree TREE RELEASE VERSION
finish_tree() {
	local tree=$1 release=$2 version=$3 modules=$1/usr/lib/modules/$2
	find "$modules" -name '*.ko.gz' -exec gunzip {} +
	find "$modules" -name '*.ko.zst' -exec zstd -dq --rm {} +
	[ -e "$tree/vmlinux" ] || unpack_kernel "$modules/vmlinuz" "$tree/vmlinux"
	depmod --basedir "$tree/usr" "$release"
	printf '%s\n' "$version" >"$tree/version"
	printf '%s\n' "$release" >"$tree/release"
}
