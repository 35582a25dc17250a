#!/usr/bin/env bash
# The main job: learns from Fashion-MNIST's 60,000 images without their labels, then says what was learned.
#   tools/demo.sh [RUN]      RUN: the run directory to make (default: runs/fashion-mnist-demo, then …-2, …-3)
# TACIT_SKIP_INSTALL=1 leaves Debian's packages alone.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
. tools/common.sh

run=${1:-runs/fashion-mnist-demo}
if [ $# = 0 ]; then
  n=2
  while [ -e "$run" ]; do run=runs/fashion-mnist-demo-$n; n=$((n + 1)); done
fi
tacit=build/bin/tacit

step "Debian packages" install_packages $TACIT_PACKAGES dataset-fashion-mnist
step "build (build/)" build release -- tacit_cli
step "pre-train SimCLR on 60,000 images without labels" \
  $tacit pretrain simclr --data fashion-mnist --recipe fashion-mnist-demo --out "$run"
step "nearest neighbours of ten test images" \
  $tacit neighbours "$run" --data fashion-mnist --queries 10 --out "$run/images/neighbours.png"
step "what was learned, beside raw pixels, random weights and supervised training" \
  $tacit evaluate "$run" --data fashion-mnist
step "all of it on one page" $tacit report "$run"

cat <<END

== done: $run
  $run/report.html              curves, label efficiency, a map of the features: open it in a browser
  $run/images/views.png         the views that the two branches saw
  $run/images/neighbours.png    ten test images, each with the training images most like it
  $run/evaluation.json          the table above, for programs
  $run/metrics.jsonl            loss, learning rate, speed of every step
  $run/checkpoints/last.safetensors

How to go on, with your own images (any folder of JPEG or PNG files, no labels needed):
  $tacit pretrain simclr --data folder:/path/to/images --image-size 64 --out runs/mine
  $tacit embed runs/mine --data folder:/path/to/images --out runs/mine/features
and with sub-folders as classes:
  $tacit evaluate runs/mine --data folder:/path/to/images
  $tacit export runs/mine --out encoder.safetensors      # loads in PyTorch: torchvision's names
END
