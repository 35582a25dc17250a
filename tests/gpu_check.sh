#!/usr/bin/env bash
# tools/gpu_check.sh's stages with the CPU in the GPU's place and next to nothing to compute: a slip of the shell must not
# cost time on a GPU. Stand-ins: compute-sanitizer, and PyTorch's side of the comparisons.
#   gpu_check.sh SOURCE_DIR BUILD_DIR
set -u -o pipefail
source=$1 build=$2
python=$(command -v python3) || { echo "skipped: gpu_check: python3 is not installed" && exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bad=0
expect() { # TEXT FILE
  grep -qF -- "$1" "$2" || { echo "missing from $2: $1"; sed 's/^/  /' "$2"; bad=1; }
}
export GPU_CHECK_DEVICE=cpu GPU_CHECK_TINY=1 GPU_CHECK_DISK=$work/disk
dir=$work/dir out=$work/out
mkdir -p "$dir" "$work/disk" "$work/bin" "$work/cifar10" "$work/pack/bin" "$work/pack/lib"

# What `pack` makes of a build with CUDA, of this one.
echo test_tensor > "$work/pack/tests"
echo "$source" > "$work/pack/source_dir"
echo 0123abc > "$work/pack/commit"
echo own > "$work/pack/convolutions"
cat > "$work/pack/bin/bench_train" <<'END'
#!/usr/bin/env bash
echo '{"case": "'"$1"'"}'
END
chmod +x "$work/pack/bin/bench_train"
cp "$build/bin/tacit" "$build/bin/test_tensor" "$work/pack/bin/" || exit 1
ln -s test_tensor "$work/pack/bin/test_kernels"
tar -C "$work/pack" -cf - . | xz -0 > "$dir/tacit-gpu.tar.xz" || exit 1
cat > "$work/bin/compute-sanitizer" <<'END'
#!/usr/bin/env bash
echo "========= ERROR SUMMARY: 0 errors"
END
cat > "$work/bin/python3" <<END
#!/usr/bin/env bash
case \$1 in
  bench/compare_pytorch.py)
    while [ "\$1" != --json ]; do shift; done
    echo '{"case": "simclr-resnet18-512", "precision": "bf16", "compiled": false, "ratio": 0.7}' >> "\$2"
    echo '{"case": "gemm-12608-768-768", "precision": "bf16", "compiled": false, "ratio": 1.2, "of_peak": 0.597}' >> "\$2"
    echo '{"case": "resnet18", "prec' >> "\$2" ;;  # stopped while it wrote
  *) exec "$python" "\$@" ;;
esac
END
chmod +x "$work/bin/compute-sanitizer" "$work/bin/python3"
export PATH=$work/bin:$PATH

stage() { # NAME STATUS [ENVIRONMENT…]: a stage's output is in $work/NAME, its last line for the log
  local status
  env "${@:3}" bash "$source/tools/gpu_check.sh" "$1" "$dir" "$out" > "$work/$1" 2>&1
  status=$?
  [ $status = "$2" ] || { echo "$1 ended with $status, not $2:"; tail -n 40 "$work/$1"; bad=1; }
  [ ! -e "$out/$1.json" ] || "$python" -m json.tool "$out/$1.json" > /dev/null || { echo "$out/$1.json is no JSON"; bad=1; }
}

bash "$source/tools/gpu_check.sh" nonsense "$dir" > "$work/nonsense" 2>&1 && { echo "an unknown stage passes"; bad=1; }
expect "unknown stage 'nonsense'" "$work/nonsense"
stage table 0
expect "| no GPU, the CPU in its place | 0123abc | table |" "$work/table"
expect " passed, 0 failed |" "$work/table"
stage sanitizer 0
expect "memcheck: exit 0; racecheck: exit 0; initcheck: exit 0; synccheck: exit 0;" "$work/sanitizer"
stage speed 0
expect "SimCLR ResNet-18 512 x 2 bf16 ÷ eager 0.700 (≤ 0.75: passed); ÷ torch.compile: not measured (≤ 1.0)" "$work/speed"
expect "gemm-12608-768-768 59.7 % of peak (≥ 60 % of peak: FAILED)" "$work/speed"
stage accuracy 0
expect "resume bit-equal: true" "$work/accuracy"

# CIFAR-10 arrives in two calls; the archive came with the first one.
for file in data_batch_{1,2,3,4,5} test_batch; do
  # 40 records: a label below ten, then pixels.
  LC_ALL=C awk -v seed="${#file}${file: -1}" 'BEGIN {
    srand(seed)
    for (i = 0; i < 40; ++i) { printf "%c", i % 10; for (p = 0; p < 3072; ++p) printf "%c", 1 + int(254 * rand()) }
  }' | head -c $((40 * 3073)) > "$work/cifar10/$file.bin"
done
bash "$source/tools/gpu_check.sh" pack-data "$work/data" "$work/cifar10" > "$work/pack-data" 2>&1 || { echo "pack-data fails"; cat "$work/pack-data"; bad=1; }
rm "$dir/tacit-gpu.tar.xz"
cp "$work"/data/cifar10-data_batch_[12].bin.xz "$dir/"
stage keep 0
expect "of CIFAR-10 not here yet:  cifar10-data_batch_3.bin.xz cifar10-data_batch_4.bin.xz cifar10-data_batch_5.bin.xz" "$work/keep"
rm "$dir"/*
cp "$work"/data/cifar10-data_batch_[34].bin.xz "$dir/"
stage cifar10-simclr 1
expect "not here yet: cifar10-data_batch_5.bin.xz cifar10-test_batch.bin.xz;" "$work/cifar10-simclr"
rm "$dir"/*
cp "$work"/data/cifar10-{data_batch_5,test_batch}.bin.xz "$dir/"
stage cifar10-nonsense 2
expect "unknown method 'nonsense'" "$work/cifar10-nonsense"
# No time: it ends, says so, and goes on where it was.
stage cifar10-simclr 3 GPU_CHECK_MINUTES=0
expect "not finished: call this stage again" "$work/cifar10-simclr"
expect "final loss: not measured (5.15 to 5.21)" "$work/cifar10-simclr"
for method in simclr moco byol mae rotation; do
  stage cifar10-$method 0
  expect "| cifar10-$method | $method, " "$work/cifar10-$method"
done
for name in data_batch_1 test_batch; do
  cmp "$work/cifar10/$name.bin" "$work/disk/tacit-gpu-cifar10/$name.bin" || bad=1
done
expect "kNN(10) " "$work/cifar10-simclr"
expect '"knn-3"' "$out/cifar10-moco.json"
expect "kNN(200) " "$work/cifar10-byol"
expect "fine-tuned − from scratch " "$work/cifar10-mae"
expect "probe on block 2 " "$work/cifar10-rotation"
exit $bad
