#!/usr/bin/env bash
# Makes tacit as one file that runs on any Linux of this processor, with nothing installed: build-static/bin/tacit, and
# with its manual page, completion and licences build-static/tacit-VERSION-linux-x86_64.tar.gz.
#   tools/static.sh          TACIT_SKIP_INSTALL=1 leaves Debian's packages alone
#                            TACIT_TBB_SOURCE=DIR takes oneTBB's source from there, not from Debian's archive
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
. tools/common.sh

# tbb_source DIR: oneTBB's source as Debian has it. The machine's own list of archives is asked for sources, in a place
# apart: its configuration stays as it is.
tbb_source() {
  [ ! -e "$1/CMakeLists.txt" ] || { echo "there already"; return; }
  local apt list
  apt=$(mktemp -d)
  mkdir "$apt/parts" "$apt/state" "$apt/cache"
  for list in /etc/apt/sources.list /etc/apt/sources.list.d/{debian,ubuntu}.sources; do
    [ ! -e "$list" ] || sed -e 's/^Types:.*/Types: deb-src/' -e 's/^deb /deb-src /' "$list" >"$apt/parts/${list##*/}"
  done
  mv "$apt/parts/sources.list" "$apt/list" 2>/dev/null
  local options=(-qq -o "Dir::Etc::sourcelist=$apt/list" -o "Dir::Etc::sourceparts=$apt/parts" -o "Dir::State=$apt/state"
    -o "Dir::Cache=$apt/cache" -o APT::Sandbox::User=root)
  (cd "$apt" && apt-get "${options[@]}" update && apt-get "${options[@]}" source onetbb >log) || { cat "$apt/log"; return 1; }
  rm -rf "$1" && mkdir -p "$(dirname "$1")" && mv "$apt"/onetbb-*/ "$1" && rm -rf "$apt"
}

source=${TACIT_TBB_SOURCE:-$PWD/build-static/onetbb-source}
# libjpeg-turbo is optional elsewhere; who gets this file cannot add it later.
step "Debian packages" install_packages $TACIT_PACKAGES libjpeg62-turbo-dev dpkg-dev
step "oneTBB's source" tbb_source "$source"
step "build (build-static/)" build static -DTACIT_TBB_SOURCE="$source" -DTACIT_UNITY=ON -- tacit_cli
step "package" cpack --config build-static/CPackConfig.cmake -B build-static
ls -l build-static/bin/tacit build-static/tacit-*.tar.gz
