#!/usr/bin/env bash
# Exports trained encoders and loads them in PyTorch; reads a run with TensorBoard where that is installed too. Skipped where no Python with torch is found.
#   run.sh BUILD_DIR        TACIT_PYTHON: the interpreter (default python3) with torch, torchvision, timm, safetensors, pillow
set -eu -o pipefail
tacit=$1/bin/tacit
here=$(cd "$(dirname "$0")" && pwd)
python=${TACIT_PYTHON:-python3}
if ! "$python" -c 'import torch, torchvision, timm, safetensors, PIL' 2>/dev/null; then
  echo "skipped: interop: $python has no torch, torchvision, timm, safetensors and pillow (TACIT_PYTHON names another)"
  exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/images"
"$python" "$here/check_export.py" images "$work/images"
for case in "resnet18 cifar simclr" "resnet18 imagenet simclr" "resnet34 cifar simclr" "resnet50 imagenet simclr" \
  "vit_tiny auto simclr" "vit_tiny auto mae"; do
  read -r name stem method <<<"$case"
  run=$work/$name-$stem-$method
  "$tacit" pretrain "$method" --data synthetic:40 --image-size 32 --encoder "$name" --stem "$stem" --batch-size 8 \
    --epochs 1 --warmup-epochs 0 --lr 0.01 --out "$run" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
  "$tacit" embed "$run" --data "folder:$work/images" --split all --out "$run/features" --quiet
  "$tacit" export "$run" --out "$run/encoder.safetensors" --quiet
  "$python" "$here/check_export.py" compare "$run/encoder.safetensors" "$run/features/features.npy" "$work/images" \
    "$name" "$stem"
done
if "$python" -c 'import tensorboard' 2>/dev/null; then
  "$python" "$here/check_tensorboard.py" "$work/vit_tiny-auto-mae" 192 2>"$work/log" || { cat "$work/log"; exit 1; }
else
  echo "skipped: tensorboard: $python has no tensorboard"
fi
