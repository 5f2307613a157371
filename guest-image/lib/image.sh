# SPDX-License-Identifier: Apache-2.0 OR MIT
# shellcheck shell=bash disable=SC2154 # common.sh and build set what is not set here
# The image: everything that a guest boots from, in one directory. Sourced by
# build.

# How many images, and target directories of checkouts, are kept, the newest first.
kept_images=12
kept_targets=3

image_path() {
	local inputs
	# shellcheck disable=SC2046 # folders of the checkout, one a word
	inputs=$(digest Cargo.toml Cargo.lock .cargo guest-driver \
		guest-image/build guest-image/lib guest-image/programs $(folders '[a-z]*'))
	printf '%s/image-%s\n' "$cache" \
		"$(printf '%s\n' "$(tools_path)" "$(kernel_name)" "$(for_first_guest kernel_name)" "$(compiler)" "$inputs" | hash_stdin)"
}

# make_image IMAGE: all of it, or nothing.
make_image() {
	local part=$1.part kernel first release how
	kernel=$(kernel_path)
	first=$(for_first_guest kernel_path)
	release=$(cat "$kernel/release")
	mkdir "$part" "$part/build"
	explain=explain_driver step "building the guest driver for Linux $release" build_driver "$part/build/driver"
	for how in init plain packed; do
		# shellcheck disable=SC2046 # packages, one a word
		step "building the guest's programs ($how)" build_programs "$part/build/$how" $(packages "$how")
	done
	step "packing the initramfs" "$here/in-tools" "$here/lib/pack" guest "$part" "$release"
	for_first_guest step "packing the first guest's initramfs" \
		"$here/in-tools" "$here/lib/pack" first_guest "$part" "$(cat "$first/release")"
	ln "$kernel/usr/lib/modules/$release/vmlinuz" "$kernel/vmlinux" "$part/"
	ln "$first/vmlinux" "$part/l1-vmlinux"
	cp "$kernel/usr/src/linux/.config" "$part/config"
	write_manifest "$1" "$(tools_path)" "$kernel" "$part"/*init* "$part"/*vmlinu* >"$part/manifest.json"
	rm -rf "$part/build"
	finish "$part" "$1"
}

write_manifest() {
	local image=$1 tree=$2 kernel version sizes folder=null
	kernel=$(readlink -f "$3")
	version=$(sed -n 's/^#define FF_VERSION[[:space:]]*//p' "$repo/guest-driver/base/abi.h")
	[ ! -e "$kernel/folder" ] || folder=$(sed 's/[\"]/\\&/g; s/.*/"&"/' "$kernel/folder")
	shift 3
	sizes=$(stat -c '"%n": %s' "$@" | sed 's|"[^"]*/|"|' | paste -sd ,)
	cat <<-END
		{
		  "kernel_release": "$(cat "$kernel/release")",
		  "kernel_version": "$(cat "$kernel/version")",
		  "kernel": "$kernel",
		  "kernel_tree": $folder,
		  "device_version": $((version >> 16)),
		  "init_version": 3,
		  "tools": "$tree",
		  "qemu": "usr/bin/qemu-system-x86_64",
		  "image_hash": "${image##*-}",
		  "tools_hash": "${tree##*-}",
		  "compiler": "$(compiler)",
		  "sizes": {$sizes}
		}
	END
}

# Removes all but the newest images, and trees of tools and kernels that none of
# them needs and nobody, also in another checkout, has used for a week. Kernels that users
# build are many, and go with their images.
forget_old() {
	local path
	keep_newest $kept_images "$cache"/image-*
	keep_newest $kept_targets "$cache"/target*
	find "$cache" -maxdepth 1 -type d \( \( -name 'tools-*' -o -name 'kernel-*' \) -mtime +7 \
		-o -name 'kernel-folder-*' -o -name 'kernel-debs-*' \) | while read -r path; do
		grep -qF "\"$path\"" "$cache"/image-*/manifest.json || discard "$path"
	done
	find "$cache" -maxdepth 1 -xtype l -name 'kernel-*' -delete
}

# keep_newest NUMBER PATH...: of those that there are.
keep_newest() {
	local path
	# shellcheck disable=SC2012 # the names are ours, and are sorted by age
	{ ls -dt "${@:2}" 2>/dev/null || true; } | tail -n "+$(($1 + 1))" | while read -r path; do discard "$path"; done
}
