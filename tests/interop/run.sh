#!/usr/bin/env bash
# Exports trained encoders and loads them in PyTorch and onnxruntime; imports what PyTorch's programs save; reads a run
# with TensorBoard. Skipped where no Python with torch is found.
#   run.sh BUILD_DIR        TACIT_PYTHON: the interpreter (default python3) with torch, torchvision, timm, safetensors,
#                           pillow; for the ONNX part onnx and onnxruntime, for the last one tensorboard
set -eu -o pipefail
tacit=$1/bin/tacit
here=$(cd "$(dirname "$0")" && pwd)
python=${TACIT_PYTHON:-python3}
if ! "$python" -c 'import torch, torchvision, timm, safetensors, PIL' 2>/dev/null; then
  echo "skipped: interop: $python has no torch, torchvision, timm, safetensors and pillow (TACIT_PYTHON names another)"
  exit 77
fi
with_onnx=true
if ! "$python" -c 'import onnx, onnxruntime' 2>/dev/null; then
  with_onnx=false
  echo "interop without its ONNX part: $python has no onnx and onnxruntime (TACIT_PYTHON names another)"
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/images"
"$python" "$here/check_export.py" images "$work/images"

pretrain() { # RUN METHOD FLAG…: one epoch on made-up images, and the features of the PNGs
  local run=$1 method=$2
  shift 2
  "$tacit" pretrain "$method" --data synthetic:40 --image-size 32 --batch-size 8 --epochs 1 --warmup-epochs 0 --lr 0.01 \
    --out "$run" "$@" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
  "$tacit" embed "$run" --data "folder:$work/images" --split all --out "$run/features" --quiet >"$work/log"
}
check_onnx() { # RUN: with and without the normalisation in the graph
  $with_onnx || return 0
  "$tacit" export "$1" --format onnx --out "$1/encoder.onnx" --quiet >"$work/log"
  "$python" "$here/check_onnx.py" "$1/encoder.onnx" "$1/features/features.npy" "$work/images" normalised
  "$tacit" export "$1" --format onnx --include-normalisation --out "$1/encoder.onnx" --quiet >"$work/log"
  "$python" "$here/check_onnx.py" "$1/encoder.onnx" "$1/features/features.npy" "$work/images" pixels
}

for case in "resnet18 cifar simclr" "resnet18 imagenet simclr" "resnet34 cifar simclr" "resnet50 imagenet simclr" \
  "vit_tiny auto simclr" "vit_tiny auto mae"; do
  read -r name stem method <<<"$case"
  run=$work/$name-$stem-$method
  pretrain "$run" "$method" --encoder "$name" --stem "$stem"
  "$tacit" export "$run" --out "$run/encoder.safetensors" --quiet >"$work/log"
  "$python" "$here/check_export.py" compare "$run/encoder.safetensors" "$run/features/features.npy" "$work/images" \
    "$name" "$stem"
  check_onnx "$run"
done
# Encoders that torchvision and timm lack, and options that PyTorch's classes do not have.
for case in "small_cnn" "small_cnn --channels 1" "nin" "vit_micro --pool mean" \
  "vit_micro --pool mean-after-norm"; do
  read -r -a flags <<<"$case"
  run=$work/$(echo "$case" | tr ' ' '_')
  pretrain "$run" simclr --encoder "${flags[@]}"
  check_onnx "$run"
done
"$python" "$here/check_import.py" "$tacit" "$work/images" "$work/import"
if "$python" -c 'import tensorboard' 2>/dev/null; then
  "$python" "$here/check_tensorboard.py" "$work/vit_tiny-auto-mae" 192 2>"$work/log" || { cat "$work/log"; exit 1; }
else
  echo "skipped: tensorboard: $python has no tensorboard"
fi
