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
pretrain() { # RUN ENCODER_WIDTH FLAGS…
  "$tacit" pretrain simclr --data "folder:$work/data" --image-size 16 --batch-size 8 --epochs 2 --warmup-epochs 0 \
    --encoder small_cnn --encoder-width "$2" --out "$1" --quiet "${@:3}" >"$work/log"
}
evaluate() {
  "$tacit" evaluate "$1" --data "folder:$work/data" --labels-per-class 2,4 --draws 1 --supervised=false --quiet >"$work/log"
}
dom() { # PAGE FLAGS…: as the browser has it after its script
  "$browser" --headless --no-sandbox --disable-gpu --virtual-time-budget=3000 "${@:2}" --dump-dom "file://$1" \
    >"$work/dom.html" 2>"$work/log" || { cat "$work/log"; exit 1; }
}
check() { # WHAT PATTERN: what the script leaves in the page, so nothing that stands in its own text or data
  grep -q -- "$2" "$work/dom.html" || { echo "FAILED: the page has no $1"; exit 1; }
}
check_none() { # WHAT PATTERN
  ! grep -q -- "$2" "$work/dom.html" || { echo "FAILED: the page has $1"; exit 1; }
}

pretrain "$work/a" 8
evaluate "$work/a"
"$tacit" report "$work/a" --quiet >"$work/log"
dom "$work/a/report.html"
check "loss curve" '<figcaption>loss</figcaption><svg[^>]*aria-label="loss by epoch: [^"]* to [^"]*">.*<polyline points="[0-9]'
check "label-efficiency plot" '<figcaption>test accuracy</figcaption><svg[^>]*aria-label="test accuracy by labels a class: raw pixels'
check "what the evaluation is of" '<p>Evaluated at step 8 of 8, folder:'
key() { echo "<span class=\"key\"><svg[^>]*><line[^>]*stroke-width=\"$1\" stroke-dasharray=\"$2\"></line></svg>$3</span>"; }
check "key of the loss, solid as its line" "$(key 1.8 none loss)"
check "key of its chance level, dashed as its line" "$(key 1.2 '5 4' chance)"
check "map" '<h2>A map of the features</h2>.*<figcaption>32 test images, first two[^<]*</figcaption><svg[^>]*><circle'
check "confusion matrix" '<h3>linear probe, [^<]*</h3><div class="wide"><table class="confusion">'
check "picture with a text" '<img src="data:image/png;base64[^>]* alt="[A-Z]'
check "class name as text" '<span class="key"><svg[^>]*><circle[^>]*></circle></svg>&lt;img src=x onerror'
check "command that made the run" '^[^ ]*tacit pretrain simclr --data folder:.* --quiet$'
check "version that made it" '^# tacit [0-9]'
check "end, which its script reached" '<summary>config.toml</summary></details><pre class="folded">'
check "title of its own" '<title>tacit report</title>'
check_none "an element made of a class's name" '<img src="x"'

# Accuracies of 100 %, with bars beyond.
mkdir "$work/right"
cp -r "$work/a" "$work/right/a"
sed -i -E 's/"mean": *[0-9.e+-]+/"mean": 1.0/; s/"std": *[0-9.e+-]+/"std": 0.2/' "$work/right/a/evaluation.json"
"$tacit" report "$work/right/a" --images 0 --quiet >"$work/log"
dom "$work/right/a/report.html"
check "axis up to 100 %" '>test accuracy</figcaption>.*>100.0&nbsp;%</text>'
check_none "a tick above 100 %" '>1\(0[1-9]\|[1-9][0-9]\)\.[0-9]&nbsp;%</text>'

# On paper: the rules for print made those of the screen, in a frame as wide as Letter paper between its margins, and the
# browser asked what it then shows. Its tooltip is open.
asked() { # PAGE WIDTH EXPRESSION: of `w`, the page's window, and `d`, its document
  cat >"$work/frame.html" <<HTML
<iframe src="file://$1" style="border: 0; width: $2px; height: 844px" onload="const w = this.contentWindow, d = w.document;
  d.querySelector('figure > svg').dispatchEvent(new w.MouseEvent('mousemove', { clientX: 99, clientY: 99 }));
  document.title = 'asked ' + ($3)"></iframe>
HTML
  dom "$work/frame.html" --allow-file-access-from-files
}
paper() { # PAGE: as it is on paper
  sed -e 's/@media print/@media all/' -e 's/@media screen/@media speech/' "$1" >"$work/paper.html"
}
fits="d.documentElement.scrollWidth <= w.innerWidth"
none_scrolls() { echo "[...d.querySelectorAll('$1')].filter(e => e.scrollWidth > e.clientWidth).length"; }  # ELEMENTS
style() { echo "w.getComputedStyle(d.querySelector('$1'))['$2']"; }  # ELEMENT PROPERTY
paper "$work/a/report.html"
asked "$work/paper.html" 739 "[d.querySelector('.folded').checkVisibility(), $(style .tip display), $fits, $(none_scrolls '.wide, pre')]"
check "config.toml, no tooltip and whole tables on paper" '<title>asked true,none,true,0</title>'
asked "$work/paper.html" 739 "[$(style h2 break-after), $(style figcaption break-after), $(style figure break-inside)]"
check "titles with their charts on paper" '<title>asked avoid,avoid,avoid</title>'
asked "$work/paper.html" 739 "[$(style '.confusion td' print-color-adjust)]"
check "colours of the matrix on paper" '<title>asked exact</title>'
asked "$work/a/report.html" 1100 "[d.querySelector('.folded').checkVisibility(), $(style .tip display)]"
check "folded config.toml and a tooltip on the screen" '<title>asked false,block</title>'
asked "$work/a/report.html" 390 "[$fits]"
check "way to read it on a phone without scrolling sideways" '<title>asked true</title>'

# Several: a run that went on after its evaluation, one of the same encoder, and one of another; and one of a long name.
long=$(printf 'a_long_name_%.0s' $(seq 1 12))
mkdir "$work/b" "$work/c"
pretrain "$work/b/run" 8 --stop-after-epochs 1
evaluate "$work/b/run"
"$tacit" pretrain simclr --out "$work/b/run" --resume --stop-after-epochs 2 --quiet >"$work/log"
pretrain "$work/c/run" 4
evaluate "$work/c/run"
"$tacit" report "$work/a" "$work/b/run" "$work/c/run" --images 0 --out "$work/all.html" --quiet >"$work/log" 2>&1
grep -q 'warning: .*b/run: the evaluation is of step 4, the run is at step 8' "$work/log" || { echo "FAILED: no warning"; exit 1; }
dom "$work/all.html"
check "names that differ" '<h1>a, b/run, c/run</h1>'
check "one run's chance level" '</svg>b/run, chance</span>'
check "old evaluation's step" '<td>[0-9.]*&nbsp;% (step 4 of 8)</td>'
check "warning" '<p class="warning">b/run: evaluated at step 4 of 8, [^<]*Warning: the evaluation is of step 4'
check "raw pixels once" '</svg>raw pixels, of every run</span>'
check "baseline of two runs" '</svg>untrained encoder, of a, b/run</span>'
check "baseline of one run" '</svg>untrained encoder, of c/run</span>'
asked "$work/all.html" 1100 "[$(none_scrolls .wide)]"
check "whole tables of three runs on a screen" '<title>asked 0</title>'
paper "$work/all.html"
asked "$work/paper.html" 739 "[$fits, $(none_scrolls '.wide, pre')]"
check "whole tables of three runs on paper" '<title>asked true,0</title>'
mv "$work/c/run" "$work/c/$long"
"$tacit" report "$work/a" "$work/c/$long" --out "$work/long.html" --quiet >"$work/log" 2>&1
asked "$work/long.html" 390 "[$fits]"
check "way to read a long name on a phone" '<title>asked true</title>'
paper "$work/long.html"
asked "$work/paper.html" 739 "[$fits, $(none_scrolls '.wide, pre')]"
check "long name on paper" '<title>asked true,0</title>'
echo "passed: the report draws its curves, plots, map, matrix and pictures in $("$browser" --version 2>/dev/null)"
