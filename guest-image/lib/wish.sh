# SPDX-License-Identifier: Apache-2.0 OR MIT
# shellcheck shell=bash disable=SC2154 # common.sh sets what is not set here
# Which kernel is wanted, and where its tree is. Sourced by common.sh.

kernel_wanted() { printf '%s\n' "${FARFAULT_KERNEL:-$(grep -v '^#' "$repo/guest-image/kernel/series" | paste -sd ,)}"; }

# Nested mode's first guest is a tool, as QEMU is: it has the default kernel, which is known to
# bring KVM. The one under test may be slow, broken, or have none.
for_first_guest() { FARFAULT_KERNEL='' "$@"; }

# What a kernel that is wanted comes from. A path in the cache is a tree that was made.
kernel_kind() {
	case $(kernel_wanted) in
	debug | kcsan) echo checking ;;
	"$cache"/kernel-*) echo made ;;
	/*.deb) echo debs ;;
	/*) echo folder ;;
	*) echo archive ;;
	esac
}

# Where its tree is. For a kernel of the archive that is a link, made when the archive is asked
# for it, to the tree of the exact version.
kernel_path() {
	local wanted
	wanted=$(kernel_wanted)
	case $(kernel_kind) in
	made) printf '%s\n' "$wanted" ;;
	archive) kernel_tree "$wanted" from-archive ;;
	debs) kernel_tree "debs-$(debs_key "$wanted")" from-debs ;;
	folder) kernel_tree "folder-$(folder_key "$wanted")" from-folder selftest-sources ;;
	checking) kernel_tree "$wanted-$(cat "$(for_first_guest kernel_path)/version" 2>/dev/null)" \
		from-source ../init/needed-options {needed,tests,small,checking,"$wanted"}.config from-folder selftest-sources ;;
	esac
}

# Names the very tree, if it is there.
kernel_name() { basename "$(realpath -m "$(kernel_path)")"; }

# kernel_tree NAME RECIPE...
kernel_tree() {
	local name=$1
	shift
	printf '%s/kernel-%s-%s\n' "$cache" "$name" "$(digest "${@/#/guest-image/kernel/}" guest-image/kernel/tree.sh)"
}

debs_key() { tr , '\n' <<<"$1" | xargs -d '\n' cat 2>/dev/null | hash_stdin; }

# A tree that was built anew is another kernel. Of vmlinux, what is loaded comes first, with the
# build ID, and gigabytes of debugging information after it.
folder_key() {
	(cd "$1" 2>/dev/null && {
		cat include/config/kernel.release .config Module.symvers
		head -c 64M "$(kernel_file .)"
		sed 's/\.o$/.ko/' modules.order | xargs -d '\n' stat -c '%n %s %.Y'
		cd "$(source_of .)" && find "${selftest_sources[@]}" -type f -printf '%p %s %T@\n' | LC_ALL=C sort
	} 2>/dev/null) | hash_stdin
}

# kernel_file TREE: what a build leaves to boot.
kernel_file() {
	if [ -e "$1/vmlinux" ]; then printf '%s/vmlinux\n' "$1"; else printf '%s/arch/x86/boot/bzImage\n' "$1"; fi
}

# source_of TREE: a tree that was built with O= has its source elsewhere.
source_of() { if [ -d "$1/source" ]; then printf '%s/source\n' "$1"; else printf '%s\n' "$1"; fi; }

mapfile -t selftest_sources < <(grep -v '^#' "$repo/guest-image/kernel/selftest-sources")

# take_kernel --kernel WHAT
take_kernel() {
	local version='[0-9]+(\.[0-9]+)+(-(cloud-)?amd64)?'
	need_value "$@"
	FARFAULT_KERNEL=$2
	if [[ $2 == *.deb ]]; then
		FARFAULT_KERNEL=$(cd "$called_from" && tr , '\n' <<<"$2" | xargs -d '\n' realpath -m | paste -sd ,)
	elif [[ $2 == */* || $2 == .. || $2 == . ]] || (cd "$called_from" && [ -d "$2" ]); then
		FARFAULT_KERNEL=$(cd "$called_from" && realpath -m "$2")
	elif [[ $2 != debug && $2 != kcsan && ! $2 =~ ^$version(,$version)*$ ]]; then
		usage_error "'$2' is no kernel: name a series or a version of the archive, like 7.3 or 7.3.4-amd64, a build tree, .deb files, debug or kcsan"
	fi
	export FARFAULT_KERNEL
}
[ -z "${FARFAULT_KERNEL:-}" ] || take_kernel FARFAULT_KERNEL "$FARFAULT_KERNEL"
