#!/usr/bin/env bash
# Downloads a data set from where its authors keep it, checks it, and says how to use it.
#   tools/get_data.sh NAME DIR      NAME: cifar10 cifar100 stl10 imagenette imagenette-320
# A download that was cut off goes on where it stopped; what is there and whole is left alone. Needs curl.
# TACIT_MIRROR=URL takes the archives from there instead (the checksums are the same).
set -u -o pipefail

usage() {
  echo "usage: tools/get_data.sh NAME DIR      NAME: cifar10 cifar100 stl10 imagenette imagenette-320" >&2
  exit 2
}
fail() {
  echo "error: $*" >&2
  exit 1
}

[ $# = 2 ] || usage
name=$1 dir=$2
# The MD5 sums are those of the data sets' own pages (CIFAR) and of torchvision (STL-10, Imagenette).
case $name in
  cifar10) url=https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz sum=c32a1d4ab5d03f1284b67883e8d87530 spec=cifar10: ;;
  cifar100) url=https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz sum=03b5dce01913d631647c71ecec9e9cb8 spec=cifar100: ;;
  stl10) url=http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz sum=91f7769df0f17e558f3565bffb0c7dfb spec=stl10: inside=stl10_binary ;;
  imagenette) url=https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-160.tgz sum=e793b78cc4c9e9a4ccc0c1155377a412 spec=folder: inside=imagenette2-160 ;;
  imagenette-320) url=https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-320.tgz sum=3df6f0d01a2c9592104656642f5e78a3 spec=folder: inside=imagenette2-320 ;;
  *) echo "error: there is no data set '$name' here" >&2; usage ;;
esac
inside=${inside:-}
sum=${TACIT_TEST_SUM:-$sum} # of a made-up archive, in tests/get_data.sh
file=$dir/${url##*/}
[ -z "${TACIT_MIRROR:-}" ] || url=${TACIT_MIRROR%/}/${url##*/}
command -v curl >/dev/null || fail "curl is not installed; on Debian: apt-get install curl"
mkdir -p "$dir" || fail "cannot make the directory $dir"

kept() { [ ! -s "$file.part" ] || echo " What has arrived is kept in $file.part"; }
is_whole() { [ "$(md5sum <"$1" 2>/dev/null)" = "$sum  -" ]; }

if [ -n "$inside" ] && [ -e "$dir/$inside/.complete" ]; then
  echo "$dir/$inside is there already"
elif [ -e "$file" ] && is_whole "$file"; then
  echo "$file is there already"
else
  echo "$url -> $file"
  curl --fail --location --continue-at - --retry 3 --connect-timeout 20 --progress-bar --output "$file.part" "$url"
  status=$?
  case $status in
    0) ;;
    6 | 7 | 28) fail "cannot reach ${url#*://} (curl: status $status); is there a network?$(kept)" ;;
    23) fail "cannot write $file.part; is the disk full?" ;;
    33 | 36) rm -f "$file.part"; fail "the server cannot go on with a part of the file; run this again to begin anew" ;;
    *) fail "the download of $url failed (curl: status $status); run this again to go on" ;;
  esac
  if ! is_whole "$file.part"; then
    rm -f "$file.part"
    fail "what arrived from $url is not the data set: its MD5 sum is not $sum; it was removed"
  fi
  mv "$file.part" "$file"
fi
if [ -n "$inside" ] && [ ! -e "$dir/$inside/.complete" ]; then
  echo "unpacking $file"
  tar -xzf "$file" -C "$dir" || fail "cannot unpack $file"
  touch "$dir/$inside/.complete"
  rm -f "$file"
fi
case $spec in
  folder:) data=folder:$dir/$inside ;;
  stl10:) data=stl10:$dir/$inside ;;
  *) data=$spec$file ;;
esac
echo "ready: --data $data"
