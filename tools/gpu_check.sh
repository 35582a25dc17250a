#!/usr/bin/env bash
# Checks the CUDA backend on a machine with a GPU, in stages of at most ten minutes.
#   gpu_check.sh pack DIR    on any machine that builds tacit with CUDA, a GPU is not needed: writes DIR/tacit-gpu.tar.xz
#                            (programs, and the libraries they need: OpenBLAS, oneTBB, libarchive, …) and DIR/data.tar,
#                            the demo's images
#   gpu_check.sh table DIR [OUT]       where the GPU is, with nothing installed but CUDA, from this checkout: every
#                                      kernel, gradient, method and fixture on the device
#   gpu_check.sh sanitizer DIR [OUT]   the kernels' tests under compute-sanitizer
#   gpu_check.sh speed DIR [OUT]       whole training steps
#   gpu_check.sh accuracy DIR [OUT]    the demo, trained and evaluated on the device; resume gives the same bits
# Each stage writes OUT/STAGE.json (default OUT: DIR) and ends with a line for docs/gpu-log.md.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
. tools/common.sh
[ $# -ge 2 ] || { sed -n '2,12s/^# //p' "$0"; exit 2; }
stage=$1 dir=$2 out=${3:-$2}
tests="test_kernels test_backends test_gradients test_optim test_vit test_nn test_simclr test_momentum test_mae
  test_pretext_tasks test_colorization test_fixtures"

pack() {
  step "build with CUDA (build-cuda/)" build cuda || return
  local work program library
  work=$(mktemp -d)
  mkdir -p "$work/bin" "$work/lib" "$dir"
  for program in tacit bench_train $tests; do
    strip -o "$work/bin/$program" "build-cuda/bin/$program" || return
  done
  # What the programs load, but for the C library, which belongs to the machine, and CUDA.
  ldd "$work"/bin/* | awk '/=> \//{print $3}' | sort -u | grep -v -E '/(libc|libm|libdl|libpthread|librt|libcuda|libcublas|libcudnn)[^/]*$|ld-linux' |
    while read -r library; do cp -L "$library" "$work/lib/"; done
  pwd > "$work/source_dir"
  git rev-parse --short HEAD > "$work/commit"
  tar -C "$work" -cf - . | xz --lzma2=preset=3,dict=192MiB > "$dir/tacit-gpu.tar.xz"
  rm -rf "$work"
  [ -d /usr/share/datasets/fashion-mnist ] && tar -C /usr/share/datasets -hcf "$dir/data.tar" fashion-mnist
  ls -l "$dir"
}

unpack() {
  root=/tmp/tacit-gpu
  if [ ! -e $root/commit ]; then
    mkdir -p $root && tar -C $root -xJf "$dir/tacit-gpu.tar.xz" || exit 1
    if [ -f "$dir/data.tar" ]; then tar -C $root -xf "$dir/data.tar"; fi
    # The tests read their fixtures where they were compiled.
    local source
    source=$(cat $root/source_dir)
    [ -e "$source" ] || { mkdir -p "$(dirname "$source")" && ln -s "$PWD" "$source"; }
  fi
  export LD_LIBRARY_PATH=$root/lib:/usr/local/cuda/lib64:${LD_LIBRARY_PATH:-}
  # cuDNN may have come with a Python package only.
  LD_LIBRARY_PATH=$LD_LIBRARY_PATH:$(python3 -c 'import nvidia.cudnn as c; print(c.__path__[0] + "/lib")' 2>/dev/null)
  card=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | head -n 1)
  mkdir -p "$out"
}

# report FIGURES_JSON LINE: the stage's file, and the line for the log.
report() {
  printf '{"stage": "%s", "card": "%s", "commit": "%s", "date": "%s", "seconds": %d, "figures": %s}\n' "$stage" "$card" \
    "$(cat $root/commit)" "$(date +%F)" "$SECONDS" "$1" > "$out/$stage.json"
  printf '| %s | %s | %s | %s | %s |\n' "$(date +%F)" "$card" "$(cat $root/commit)" "$stage" "$2"
}

table() {
  local test status line log passed=0 failed=0 broken=""
  log=$(mktemp)
  : > "$out/table.log"
  for test in $tests; do
    TACIT_TEST_DEVICE=cuda timeout 300 $root/bin/"$test" > "$log" 2>&1
    status=$?
    { echo "== $test"; cat "$log"; } >> "$out/table.log"
    line=$(grep 'test cases:' "$log" | tail -n 1)
    passed=$((passed + $(sed -E 's/.*\| *([0-9]+) passed.*/\1/' <<< "${line:-| 0 passed}")))
    failed=$((failed + $(sed -E 's/.*\| *([0-9]+) failed.*/\1/' <<< "${line:-| 0 failed}")))
    echo "$test: exit $status, ${line:-no summary}"
    if [ $status != 0 ]; then
      broken="$broken $test"
      grep -E -A 12 'ERROR|FATAL|terminate|\[cuda\]' "$log" | head -n "${GPU_CHECK_LINES:-40}"
    fi
  done
  report "{\"passed\": $passed, \"failed\": $failed, \"broken\": \"$broken\"}" "$passed passed, $failed failed${broken:+ (}${broken# }${broken:+)}"
  [ -z "$broken" ]
}

sanitizer() {
  local tool status lines=""
  for tool in memcheck racecheck; do
    TACIT_TEST_DEVICE=cuda timeout 280 compute-sanitizer --tool $tool --error-exitcode 9 $root/bin/test_kernels \
      > "$out/sanitizer-$tool.log" 2>&1
    status=$?
    tail -n 3 "$out/sanitizer-$tool.log"
    lines="$lines $tool: exit $status;"
  done
  report "\"$lines\"" "$lines"
}

speed() {
  local case figures=""
  for case in simclr-resnet18 simclr-small-cnn resnet18-256 vit-tiny vit-tiny-224 mae-75; do
    figures="$figures${figures:+, }$($root/bin/bench_train $case 15 0 cuda)"
  done
  mkdir -p /tmp/tacit-gpu-python && [ ! -d "$dir/wheels" ] ||
    python3 -m pip install -q --no-index --no-deps --target /tmp/tacit-gpu-python "$dir"/wheels/*.whl
  # Beside PyTorch, where there is one, in turns.
  PYTHONPATH=/tmp/tacit-gpu-python timeout 400 python3 bench/compare_pytorch.py --build $root --device cuda --rounds 2 \
    resnet18-256 vit-tiny vit-tiny-224 simclr-resnet18 simclr-small-cnn 2>&1 | tee "$out/speed.txt"
  report "[$figures]" "see the JSON"
}

accuracy() {
  local run=/tmp/tacit-gpu-run data=idx:$root/fashion-mnist
  rm -rf $run $run-cut
  $root/bin/tacit pretrain simclr --data "$data" --recipe fashion-mnist-demo --device cuda --out $run --quiet || return
  $root/bin/tacit evaluate $run --data "$data" --device cuda --quiet --json "$out/evaluate.json" || return
  tail -n 1 $run/metrics.jsonl
  # Stopped after two epochs and resumed to the end of the third: the bits of a run that was not.
  for cut in "" "-cut"; do
    rm -rf $run-short$cut
    $root/bin/tacit pretrain simclr --data "$data" --recipe fashion-mnist-demo --limit 4096 --device cuda --quiet \
      --out $run-short$cut --stop-after-epochs $([ -n "$cut" ] && echo 2 || echo 3) || return
  done
  $root/bin/tacit pretrain simclr --resume --out $run-short-cut --stop-after-epochs 3 --quiet || return
  local same=true
  cmp $run-short/checkpoints/last.safetensors $run-short-cut/checkpoints/last.safetensors || same=false
  report "{\"evaluate\": $(cat "$out/evaluate.json"), \"resume_bit_equal\": $same}" "resume bit-equal: $same; kNN and linear in the JSON"
}

case $stage in
  pack) pack ;;
  table | sanitizer | speed | accuracy) unpack && $stage ;;
  *) echo "error: unknown stage '$stage'; known: pack, table, sanitizer, speed, accuracy" >&2; exit 2 ;;
esac
