#!/usr/bin/env bash
# Opens a report in a real browser: its script runs, draws everything, and runs nothing that data brought along. Skipped
# where there is no Chromium.
#   report.sh BUILD_DIR        TACIT_CHROMIUM: the browser (default: chromium, chromium-browser or google-chrome)
set -eu -o pipefail
tacit=$1/bin/tacit
browser=${TACIT_CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)}
if [ -z "$browser" ]; then
  echo "skipped: report: there is no Chromium (TACIT_CHROMIUM names one)"
  exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
evil='<img src=x onerror=document.title=1>'
for split in train test; do
  for class in "$evil" plain; do
    mkdir -p "$work/data/$split/$class"
    for i in $(seq 1 16); do
      { printf 'P6\n16 16\n255\n'; head -c 768 <(yes "$i$class$split$i"); } >"$work/data/$split/$class/$i.ppm"
    done
  done
done
"$tacit" pretrain simclr --data "folder:$work/data" --image-size 16 --batch-size 8 --epochs 2 --warmup-epochs 0 \
  --out "$work/a" --quiet >"$work/log"
"$tacit" evaluate "$work/a" --data "folder:$work/data" --labels-per-class 2,4 --draws 1 --supervised=false --quiet >"$work/log"
"$tacit" report "$work/a" --quiet >"$work/log"
"$browser" --headless --no-sandbox --disable-gpu --virtual-time-budget=3000 --dump-dom "file://$work/a/report.html" \
  >"$work/dom.html" 2>"$work/log" || { cat "$work/log"; exit 1; }
check() { # WHAT PATTERN
  grep -q -- "$2" "$work/dom.html" || { echo "FAILED: the page has no $1"; exit 1; }
}
check "loss curve" '<figcaption>loss</figcaption><svg'
check "label-efficiency plot" '<figcaption>test accuracy</figcaption><svg'
check "map" '<circle'
check "confusion matrix" 'class="confusion"'
check "picture" '<img src="data:image/png;base64'
check "class name as text" '&lt;img src=x onerror'
check "title of its own" '<title>tacit report</title>'
echo "passed: the report draws its curves, plots, map, matrix and pictures in $("$browser" --version 2>/dev/null)"
