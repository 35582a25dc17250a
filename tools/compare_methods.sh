#!/usr/bin/env bash
# Every pretext task on one data set, in one table: kNN, linear probe and accuracy with few labels, beside raw pixels, an
# untrained encoder and supervised training. A method takes up to 6 minutes of training on 2 cores.
#   tools/compare_methods.sh [--data SPEC] [--out DIR] [METHOD…]
#     --data SPEC   fashion-mnist (default), cifar10:DIR, or anything that `tacit --data` takes and has labels
#     --out DIR     where the runs go (default runs/compare-DATA); a run that is finished there is not trained again
#     METHOD…       default: all seven; colorization is left out on Fashion-MNIST, which is gray
# A method that the data does not allow (colorization on gray images, jigsaw on small ones) leaves its row empty, and the
# script then ends with 1. Figures with few labels are means +- standard deviations over 3 draws of them, MAE's of 1 draw.
# TACIT_SKIP_INSTALL=1 leaves Debian's packages alone.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
. tools/common.sh

data=fashion-mnist out= methods=()
while [ $# -gt 0 ]; do
  case $1 in
    --data) data=${2:?--data needs a SPEC} && shift 2 ;;
    --out) out=${2:?--out needs a directory} && shift 2 ;;
    -*) echo "error: unknown flag $1; see the head of $0" >&2 && exit 2 ;;
    *) methods+=("$1") && shift ;;
  esac
done
[ -n "$out" ] || out=runs/compare-$(tr -c 'A-Za-z0-9\n' - <<<"${data#/}")
recipe=small-images
[ "$data" = fashion-mnist ] && recipe=fashion-mnist-demo
if [ ${#methods[@]} = 0 ]; then
  methods=(simclr moco byol mae rotation jigsaw)
  [ "$recipe" = small-images ] && methods+=(colorization)
fi
tacit=build/bin/tacit
packages=(jq)
[ "$data" = fashion-mnist ] && packages+=(dataset-fashion-mnist)

step "Debian packages" install_packages $TACIT_PACKAGES "${packages[@]}"
step "build (build/)" build release -- tacit_cli
mkdir -p "$out" || exit 1
[ -e "$out/data" ] || echo "$data" >"$out/data"
[ "$(cat "$out/data")" = "$data" ] || {
  echo "error: --out $out holds runs on $(cat "$out/data"), not on $data; give another directory" >&2
  exit 1
}

# The table that has the rows which all runs of one encoder share: an earlier one, or that of the first method whose
# encoder is the common one.
shares_encoder() { [ "$1" != mae ] && [ "$1" != colorization ]; }
has_supervised() { [ -e "$out/$1/table.json" ] && jq -e '.label_efficiency | any(.method == "supervised")' \
  "$out/$1/table.json" >/dev/null; }
base=
for method in "${methods[@]}"; do
  shares_encoder "$method" || continue
  [ -n "$base" ] || base=$method
  has_supervised "$method" && base=$method && break
done
[ -n "$base" ] || base=${methods[0]}
has_supervised "$base" || rm -f "$out/$base/table.json"

# attempt TEXT COMMAND…: says what is done and does it; the status of the command.
attempt() {
  printf '\n== %s\n' "$1"
  "${@:2}"
}
# run_method METHOD: its run and its table, where they are not there yet.
run_method() {
  local method=$1 run=$out/$1 began=$SECONDS gone_on= rows
  [ -e "$run/seconds" ] || {
    [ -e "$run/config.toml" ] && gone_on=+
    attempt "$method: pre-train" $tacit pretrain "$method" --data "$data" --recipe "$recipe" --out "$run" --resume ||
      return
    echo $((SECONDS - began))$gone_on >"$run/seconds"  # 100+: interrupted and gone on, the last part took 100 s
  }
  [ "$method" = "$base" ] && rows=(--supervised=true) || rows=(--supervised=false)
  # MAE is judged by fine-tuning, which its table has by itself, against the same network from scratch, both with mixup,
  # which each is the better for: one draw, since each of these trainings takes minutes.
  [ "$method" = mae ] && rows=(--supervised=true --draws 1 --recipe mixup)
  [ -e "$run/table.json" ] ||
    attempt "$method: evaluate" $tacit evaluate "$run" --data "$data" "${rows[@]}" --json "$run/table.json"
}
failed=()
for method in "${methods[@]}"; do
  run_method "$method" || failed+=("$method")
done

shared=$out/$base/table.json
percent='def p: if . == null then "-" else (. * 1000 | round) as $x | "\($x / 10 | floor).\($x % 10)" end;
  def few(m; n): [.label_efficiency[] | select(.method == m and .labels_per_class == n)][0] |
    if . == null then "-" elif .draws > 1 then "\(.mean | p) +- \(.std | p)" else .mean | p end;'
row() { # NAME FILE KEY SECONDS: a row of the table from a run's figures
  [ -e "$2" ] || { printf '%s\t-\t-\t-\t-\t-\n' "$1" && return; }
  jq -r --arg name "$1" --arg key "$3" --arg seconds "$4" "$percent"'
    [$name, $seconds, (.knn[$key] | p), (.linear[$key] | p), few($key; 10), few($key; 100)] | @tsv' "$2"
}
{
  printf 'method\tseconds\tkNN(20)\tlinear\t10 a class\t100 a class\n'
  row "raw pixels" "$shared" pixels -
  row "untrained encoder" "$shared" random -
  row "supervised, the same encoder" "$shared" supervised -
  for method in "${methods[@]}"; do
    row "$method" "$out/$method/table.json" run "$(cat "$out/$method/seconds" 2>/dev/null)"
    [ "$method" = colorization ] && row "  its encoder (L), untrained" "$out/colorization/table.json" random -
    [ "$method" = mae ] || continue
    row "  its ViT, untrained" "$out/mae/table.json" random -
    row "  its ViT, supervised" "$out/mae/table.json" supervised -
    row "  fine-tuned" "$out/mae/table.json" finetuned -
  done
} | awk -F'\t' '{ printf "%-30s %8s %9s %8s %13s %13s\n", $1, $2, $3, $4, $5, $6 }' | tee "$out/table.txt"
[ ${#failed[@]} = 0 ] || {
  echo "error: without a row, for the reason above: ${failed[*]}" >&2
  exit 1
}
