#!/usr/bin/env bash
# Makes the Debian package, looks into it, and runs the command that it holds.
# usage: package.sh BUILD_DIR
set -eu -o pipefail
build=$1
if ! command -v dpkg-shlibdeps >/dev/null || ! command -v cpack >/dev/null; then
  echo "skipped: package: dpkg-shlibdeps (Debian's dpkg-dev) or cpack is not installed"
  exit 77
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cpack --config "$build/CPackConfig.cmake" -B "$scratch" >"$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }
deb=$(echo "$scratch"/tacit_*.deb)
dpkg-deb -f "$deb" Package Version Depends
for library in libtbb12 libopenblas libarchive libc6; do
  dpkg-deb -f "$deb" Depends | grep -q "$library" || { echo "FAILED: the package does not ask for $library"; exit 1; }
done
dpkg-deb -x "$deb" "$scratch/root"
[ "$(cd "$scratch/root" && find . -type f | sort | tr '\n' ' ')" = \
  "./usr/bin/tacit ./usr/share/bash-completion/completions/tacit ./usr/share/doc/tacit/copyright ./usr/share/man/man1/tacit.1 " ] ||
  { echo "FAILED: it holds other files:"; find "$scratch/root" -type f; exit 1; }
completed() { # WORD…: what bash would offer for the last one
  bash -c 'source "$1"; shift; COMP_WORDS=(tacit "$@"); COMP_CWORD=$#; _tacit; echo "${COMPREPLY[@]}"' - \
    "$scratch/root/usr/share/bash-completion/completions/tacit" "$@"
}
[ "$(completed pre)" = pretrain ] || { echo "FAILED: pre is completed to '$(completed pre)'"; exit 1; }
[ "$(completed pretrain mo)" = moco ] || { echo "FAILED: mo is completed to '$(completed pretrain mo)'"; exit 1; }
[ "$(completed knn RUN --temp)" = --temperature ] || { echo "FAILED: --temp is completed to '$(completed knn RUN --temp)'"; exit 1; }
[ "$(completed export RUN --format on)" = onnx ] || { echo "FAILED: on is completed to '$(completed export RUN --format on)'"; exit 1; }
[ "$(completed pretrain simclr --encoder vit_t)" = vit_tiny ] || { echo "FAILED: no encoder is completed"; exit 1; }
for part in '.B \\-\\-print\\-config' '.SS "tacit pretrain METHOD"' '.B \\-\\-temperature' 'Example:'; do
  grep -q -- "$part" "$scratch/root/usr/share/man/man1/tacit.1" || { echo "FAILED: the manual page lacks $part"; exit 1; }
done
"$scratch/root/usr/bin/tacit" --version
"$scratch/root/usr/bin/tacit" pretrain simclr --data synthetic:40 --image-size 16 --batch-size 8 --epochs 1 \
  --warmup-epochs 0 --out "$scratch/run" --quiet
