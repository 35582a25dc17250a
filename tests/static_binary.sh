#!/usr/bin/env bash
# The file that tools/static.sh makes, in a root directory that holds nothing else but /proc and /dev/null: it is small,
# asks for no library, chooses its kernels, reads JPEG and .tar.gz, and trains to the same bits as the usual build.
# usage: static_binary.sh BINARY [BINARY_OF_THE_USUAL_BUILD]
set -u
binary=$1 usual=${2:-} images=$(dirname "$0")/fixtures/images
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
root=$scratch/root
failed=0
fail() {
  echo "FAILED: $*"
  [ ! -s "$scratch/out" ] || cat "$scratch/out"
  failed=1
}

# in_root [NAME=VALUE…] ARGUMENT…: tacit, where / is $root, without the environment. Who is not root becomes it in a user
# namespace.
namespaces=(--mount)
[ "$(id -u)" = 0 ] || namespaces+=(--map-root-user)
in_root() {
  local settings=()
  while [[ ${1:-} == [A-Z]*=* ]]; do settings+=("$1"); shift; done
  # What this machine needs for OpenBLAS goes along.
  for name in OPENBLAS_CORETYPE OPENBLAS_L2_SIZE; do [ -z "${!name:-}" ] || settings+=("$name=${!name}"); done
  unshare "${namespaces[@]}" sh -c 'mount --rbind /proc "$0/proc" && mount --bind /dev/null "$0/dev/null" && exec "$@"' \
    "$root" env -i ${settings[@]+"${settings[@]}"} "$(command -v chroot || echo /usr/sbin/chroot)" "$root" /tacit "$@" \
    >"$scratch/out" 2>&1
}

mkdir -p "$root/proc" "$root/dev" "$root/data"
touch "$root/dev/null"
cp "$binary" "$root/tacit"
cp "$images"/*.jpg "$root/data"
if ! unshare "${namespaces[@]}" true 2>/dev/null; then
  echo "skipped: static_binary: no root, and no user namespaces"
  exit 77
fi

size=$(stat -c %s "$binary")
[ "$size" -lt 30000000 ] || fail "it has $size bytes, not fewer than 30 MB"
ldd "$binary" >"$scratch/out" 2>&1 && fail "it asks for libraries"

kernels=0
for isa in v2 v3 v4; do
  if in_root TACIT_CPU=$isa info; then
    grep -q "^instruction_set: x86-64-$isa" "$scratch/out" || fail "TACIT_CPU=$isa is not obeyed"
    kernels=$((kernels + 1))
  else
    grep -q "this CPU lacks" "$scratch/out" || fail "info with TACIT_CPU=$isa"
  fi
done
[ $kernels -ge 1 ] || fail "no kernels run"
in_root info || fail "info"
for library in 'OpenBLAS' 'jpeg_decoder: libjpeg'; do grep -q "$library" "$scratch/out" || fail "info does not say $library"; done

train=(pretrain simclr --data synthetic:100 --image-size 16 --batch-size 20 --epochs 1 --warmup-epochs 0 --steps 3
  --seed 1 --quiet --device cpu)
in_root "${train[@]}" --out /run || fail "three steps"
in_root knn /run --data synthetic:100 --json /knn.json || fail "knn"
grep -q '"top1": [01]' "$root/knn.json" || fail "knn has no top1"
in_root evaluate /run --data synthetic:100 --labels-per-class 2 --draws 1 --quiet || fail "evaluate"
in_root report /run --quiet || fail "report"
losses() { grep -o '"loss":[^,]*' "$1/metrics.jsonl"; }
[ "$(losses "$root/run" | wc -l)" = 3 ] || fail "not three losses"
if [ -n "$usual" ]; then
  "$usual" "${train[@]}" --out "$scratch/usual" >"$scratch/out" 2>&1 || fail "three steps of the usual build"
  [ "$(losses "$root/run")" = "$(losses "$scratch/usual")" ] || fail "other losses than the usual build's"
fi

in_root augment simclr --data folder:/data --split all --out /views.png || fail "JPEG"
# libarchive in a place without locales: a name that is not ASCII, before CIFAR's.
mkdir -p "$scratch/cifar/cifar-10-batches-bin"
touch "$scratch/cifar/cifar-10-batches-bin/Ä.txt"
for batch in data_batch_{1,2,3,4,5} test_batch; do
  head -c $((3073 * 2)) /dev/zero >"$scratch/cifar/cifar-10-batches-bin/$batch.bin"
done
tar --format=pax -C "$scratch/cifar" -czf "$root/cifar.tar.gz" cifar-10-batches-bin
in_root augment simclr --data cifar10:/cifar.tar.gz --out /views.png || fail ".tar.gz"
in_root pretrain simclr --data folder:/none --out /x && fail "a mistake is none"
grep -q '^error: .*/none does not exist' "$scratch/out" || fail "the mistake is not told"

[ $failed = 0 ] && echo "$binary: $size bytes, no library; $kernels instruction sets${usual:+; losses as by $usual}"
exit $failed
