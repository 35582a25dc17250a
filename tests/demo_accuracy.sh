#!/usr/bin/env bash
# The demo's recipe end to end, against the accuracy it promises; about 7 minutes on 2 cores.
#   demo_accuracy.sh BUILD_DIR
set -eu -o pipefail
tacit=$1/bin/tacit
if [ ! -e /usr/share/datasets/fashion-mnist ]; then
  echo "skipped: demo_accuracy: Debian's package dataset-fashion-mnist is not installed"
  exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$tacit" pretrain simclr --data fashion-mnist --recipe fashion-mnist-demo --out "$work/run" --quiet
"$tacit" evaluate "$work/run" --data fashion-mnist --labels-per-class 10 --json "$work/table.json" --quiet
json=$(tr -d ' \n' <"$work/table.json")
value() { grep -oE "$1" <<<"$json" | grep -oE '[0-9.]+$'; }
few() { grep -oE "\{[^{}]*\"method\":\"$1\"[^{}]*\}" <<<"$json" | grep -oE '"mean":[0-9.]+' | grep -oE '[0-9.]+$'; }
knn=$(value '"knn":\{"pixels":[0-9.]+,"random":[0-9.]+,"run":[0-9.]+')
linear=$(value '"linear":\{"pixels":[0-9.]+,"random":[0-9.]+,"run":[0-9.]+')
run=$(few run) pixels=$(few pixels) supervised=$(few supervised)
echo "kNN $knn, linear $linear; 10 labels a class: run $run, pixels $pixels, supervised $supervised"
awk -v knn="$knn" -v linear="$linear" -v run="$run" -v pixels="$pixels" -v supervised="$supervised" '
  BEGIN { exit !(knn >= 0.873 && linear >= 0.875 && run >= pixels + 0.025 && run > supervised) }'
