#!/usr/bin/env bash
# tools/get_data.sh from a mirror made here: a download, one that goes on, a wrong archive, no network, mistakes.
# usage: get_data.sh SOURCE_DIR
set -u
get=$1/tools/get_data.sh
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0
check() { # TEXT STATUS EXPECTED_STATUS PATTERN
  if [ "$2" != "$3" ] || ! grep -q -- "$4" "$scratch/out"; then
    echo "FAILED: $1: status $2, expected $3 with '$4'"
    cat "$scratch/out"
    failed=1
  fi
}
if ! command -v curl >/dev/null; then
  echo "skipped: get_data: curl is not installed"
  exit 77
fi
run() { "$get" "$@" >"$scratch/out" 2>&1; }
mkdir -p "$scratch/mirror/imagenette2-160/train"
echo picture >"$scratch/mirror/imagenette2-160/train/a.jpg"
head -c 300000 /dev/urandom >"$scratch/mirror/imagenette2-160/train/b.jpg"
tar -czf "$scratch/mirror/imagenette2-160.tgz" -C "$scratch/mirror" imagenette2-160
cp "$scratch/mirror/imagenette2-160.tgz" "$scratch/mirror/cifar-10-binary.tar.gz"
export TACIT_MIRROR=file://$scratch/mirror
TACIT_TEST_SUM=$(md5sum <"$scratch/mirror/imagenette2-160.tgz" | cut -d ' ' -f 1)
export TACIT_TEST_SUM

run imagenette "$scratch/new/data"
check "a download" $? 0 "ready: --data folder:$scratch/new/data/imagenette2-160"
cmp -s "$scratch/mirror/imagenette2-160/train/b.jpg" "$scratch/new/data/imagenette2-160/train/b.jpg" || { echo "FAILED: not unpacked"; failed=1; }
run imagenette "$scratch/new/data"
check "what is there" $? 0 "is there already"

mkdir -p "$scratch/half"
head -c 100000 "$scratch/mirror/cifar-10-binary.tar.gz" >"$scratch/half/cifar-10-binary.tar.gz.part"
run cifar10 "$scratch/half"
check "going on" $? 0 "ready: --data cifar10:$scratch/half/cifar-10-binary.tar.gz"
cmp -s "$scratch/mirror/cifar-10-binary.tar.gz" "$scratch/half/cifar-10-binary.tar.gz" || { echo "FAILED: the parts do not fit"; failed=1; }

TACIT_TEST_SUM=0123 run cifar10 "$scratch/wrong"
check "a wrong archive" $? 1 "its MD5 sum is not 0123"
[ -z "$(ls "$scratch/wrong")" ] || { echo "FAILED: a wrong archive was kept"; failed=1; }
TACIT_MIRROR=http://localhost:1 run stl10 "$scratch/none"
check "no network" $? 1 "is there a network"
touch "$scratch/file"
run cifar10 "$scratch/file/below"
check "no directory" $? 1 "cannot make the directory"
run mnist "$scratch/x"
check "an unknown name" $? 2 "there is no data set 'mnist'"
run
check "no arguments" $? 2 "usage:"
exit $failed
