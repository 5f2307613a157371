# SPDX-License-Identifier: Apache-2.0 OR MIT
# shellcheck shell=bash disable=SC2154 # common.sh and build set what is not set here
# The driver, and what to do where the kernel is too new for it. Sourced by build.

# Where the driver keeps what differs between kernels.
compat_header=guest-driver/base/compat.h

# The driver is built from a copy: no product may be left in the checkout. All its files are
# tried, so that all that fails is known at once. It has debugging information on any kernel.
build_driver() {
	local build=$1
	cp -r "$repo/guest-driver" "$build"
	"$here/in-tools" make --keep-going -C /usr/src/linux M="$build" KCFLAGS=-g modules
	[ -e "$build/farfault.ko" ]
}

# explain_driver WHAT: names what the kernel lacks or has otherwise, from what make has said.
explain_driver() {
	local output failing
	output=$(cat)
	failing=$(failing_symbols <<<"$output")
	[ -n "$failing" ] || { show_end "$1" <<<"$output"; return; }
	printf '%s\n' "$failing" >&2
	die "failed: $1: what differs between kernels is in $compat_header, so mend it there (the whole log is $log)"
}

# failing_symbols: a line for each, from the messages of gcc and modpost: the symbol, what is
# wrong with it, and where it is used first. What is about no symbol stays as gcc says it.
failing_symbols() {
	local error='^(.*.build.driver.)?([^ :]+:[0-9]+):[0-9]+: (fatal )?error: ' at='\t\2'
	LC_ALL=C sed -E "s/‘|’/'/g" | LC_ALL=C sed -nE "
		# The note behind it has the name.
		/${error}initialization of .* (incompatible pointer type|without a cast)/ {
			s/$error.*/\2/
			h
			d
		}
		s/.*note: \(near initialization for '([^']+)'\).*/\1: its type is another/
		t near
		s/${error}implicit declaration of function '([^']+)'.*/\4(): not declared$at/p
		s/$error'([^']+)' undeclared.*/\4: not declared$at/p
		s/${error}unknown type name '([^']+)'.*/\4: not declared$at/p
		s/$error.*(incomplete|undefined) type '([^']+)'.*/\5: not defined$at/p
		s/$error'([^']+)' has no member named '([^']+)'.*/\4: has no member '\5'$at/p
		s/${error}(too (few|many) arguments) to function '([^']+)'.*/\6(): \4$at/p
		s/${error}passing argument ([0-9]+) of '([^']+)'.*/\5(): argument \4 is of another type$at/p
		s/${error}incompatible type for argument ([0-9]+) of '([^']+)'.*/\5(): argument \4 is of another type$at/p
		s/$error([^ ]+): No such file or directory/\4: no such header$at/p
		s/$error(.*)/\4$at/p
		s/^ERROR: modpost: \"([^\"]+)\" .* undefined!/\1: not exported/p
		s/^ERROR: modpost: .* symbol '([^']+)' undefined!/\1: not exported/p
		d
		:near
		G
		s/\n/\t/p" |
		awk -F '\t' '!seen[$1]++ { print "  " $1 ($2 ? ", in " $2 : "") }'
}
