# SPDX-License-Identifier: Apache-2.0 OR MIT
# shellcheck shell=bash disable=SC2154 # common.sh sets what is not set here
# Debian's archive as the tools tree knows it, through an apt that believes nothing
# to be installed. Its lists stay in the cache: what has not changed is not fetched
# again. Sourced in the tools tree, after common.sh.

# suite=SUITE open_archive: another of Debian's suites in the same archive.
open_archive() {
	local apt=$cache/apt${suite:+-$suite}
	mkdir -p "$apt/lists/partial" "$apt/archives/partial"
	printf '%s;\n' "Dir::State \"$apt\"" "Dir::Cache \"$apt\"" 'Dir::State::status "/dev/null"' \
		'APT::Sandbox::User "root"' 'APT::Update::Error-Mode "any"' \
		'Acquire::GzipIndexes "true"' 'Dir::Cache::pkgcache ""' 'Dir::Cache::srcpkgcache ""' >"$apt/apt.conf"
	if [ -n "${suite:-}" ]; then
		sed -n "s/^\(deb .*\) [^ ]* main\$/\1 $suite main/p" /etc/apt/sources.list | sort -u >"$apt/sources.list"
		echo "Dir::Etc::SourceList \"$apt/sources.list\";" >>"$apt/apt.conf"
	fi
	export APT_CONFIG=$apt/apt.conf
	apt-get update >&2
}
