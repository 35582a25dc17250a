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

pack() {
  step "build with CUDA (build-cuda/)" build cuda -- tacit_cli bench_train device_tests || return
  local work program library tests
  work=$(mktemp -d)
  mkdir -p "$work/bin" "$work/lib" "$dir" || return
  # The tests of the GPU are those that ctest calls NAME_cuda.
  tests=$(ctest --test-dir build-cuda -N -L device | sed -n 's/.*: \(test_[a-z_]*\)_cuda$/\1/p')
  [ -n "$tests" ] || { echo "error: build-cuda has no tests of the GPU"; return 1; }
  echo "$tests" > "$work/tests"
  for program in tacit bench_train $tests; do
    strip -o "$work/bin/$program" "build-cuda/bin/$program" || return
  done
  # What the programs load, but for the C library, which belongs to the machine, and CUDA.
  for library in $(ldd "$work"/bin/* | awk '/=> \//{print $3}' | sort -u |
    grep -v -E '/(libc|libm|libdl|libpthread|librt|libcuda|libcublasLt|libcudnn)\.so'); do
    cp -L "$library" "$work/lib/" || return
  done
  pwd > "$work/source_dir"
  git rev-parse --short HEAD > "$work/commit"
  [ -z "$(git status --porcelain)" ] || sed -i 's/$/+changes/' "$work/commit"
  grep -q 'TACIT_CUDNN_LIBRARY:FILEPATH=/' build-cuda/CMakeCache.txt && echo cuDNN > "$work/convolutions" ||
    echo own > "$work/convolutions"
  tar -C "$work" -cf - . | xz --lzma2=preset=3,dict=192MiB > "$dir/tacit-gpu.tar.xz" || return
  rm -rf "$work"
  if [ -d /usr/share/datasets/fashion-mnist ]; then
    tar -C /usr/share/datasets -hcf "$dir/data.tar" fashion-mnist || return
  fi
  ls -l "$dir"
}

unpack() {
  # One directory an archive: a second one on the same machine does not test the first one's programs.
  root=/tmp/tacit-gpu-$(md5sum < "$dir/tacit-gpu.tar.xz" | cut -c1-8)
  if [ ! -e "$root/complete" ]; then
    rm -rf "$root" && mkdir -p "$root" && tar -C "$root" -xJf "$dir/tacit-gpu.tar.xz" || exit 1
    if [ -f "$dir/data.tar" ]; then tar -C "$root" -xf "$dir/data.tar" || exit 1; fi
    touch "$root/complete"
  fi
  # The tests read their fixtures where they were compiled.
  local source
  source=$(cat "$root/source_dir")
  [ -e "$source" ] || { mkdir -p "$(dirname "$source")" && ln -s "$PWD" "$source"; }
  export LD_LIBRARY_PATH=$root/lib:/usr/local/cuda/lib64${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  # cuDNN may have come with a Python package only.
  local cudnn
  cudnn=$(python3 -c 'import nvidia.cudnn as c; print(c.__path__[0] + "/lib")' 2>/dev/null)
  LD_LIBRARY_PATH=$LD_LIBRARY_PATH${cudnn:+:$cudnn}
  card=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | head -n 1)
  [ -n "$card" ] || { echo "error: nvidia-smi shows no GPU"; exit 1; }
  mkdir -p "$out"
}

# report FIGURES_JSON LINE: the stage's file, and the line for the log.
report() {
  printf '{"stage": "%s", "card": "%s", "commit": "%s", "convolutions": "%s", "date": "%s", "seconds": %d, "figures": %s}\n' \
    "$stage" "$card" "$(cat "$root/commit")" "$(cat "$root/convolutions")" "$(date +%F)" "$SECONDS" "$1" > "$out/$stage.json"
  printf '| %s | %s | %s | %s | %s |\n' "$(date +%F)" "$card" "$(cat "$root/commit")" "$stage" "$2"
}

table() {
  local test status line log passed=0 failed=0 broken=""
  log=$(mktemp)
  : > "$out/table.log"
  for test in $(cat "$root/tests"); do
    TACIT_TEST_DEVICE=cuda timeout 300 "$root/bin/$test" > "$log" 2>&1
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
  local tool status lines="" failed=0
  for tool in memcheck racecheck initcheck synccheck; do
    TACIT_TEST_DEVICE=cuda timeout 140 compute-sanitizer --tool $tool --error-exitcode 9 "$root/bin/test_kernels" \
      > "$out/sanitizer-$tool.log" 2>&1
    status=$?
    [ $status = 0 ] || failed=1
    tail -n 3 "$out/sanitizer-$tool.log"
    lines="$lines $tool: exit $status;"
  done
  report "\"$lines\"" "$lines"
  return $failed
}

speed() {
  local case one figures="" failed=0
  for case in simclr-resnet18 simclr-small-cnn resnet18-256 vit-tiny vit-tiny-224 mae-75; do
    one=$("$root/bin/bench_train" $case 15 0 cuda) || { failed=1; continue; }
    figures="$figures${figures:+, }$one"
  done
  if [ -d "$dir/wheels" ]; then  # timm, where the machine's Python lacks it
    python3 -m pip install -q --no-index --no-deps --upgrade --target /tmp/tacit-gpu-python "$dir"/wheels/*.whl || failed=1
  fi
  # Beside PyTorch, in turns; what is asked for first.
  : > "$out/speed.txt"
  for one in "bf16 simclr-resnet18-512" "bf16 simclr-resnet18-512 --compile" "bf16 mae-base-224" "tf32 resnet18-256 vit-tiny-224" \
    "fp32 resnet18-256 vit-tiny vit-tiny-224 simclr-resnet18 simclr-small-cnn"; do
    PYTHONPATH=/tmp/tacit-gpu-python timeout 200 python3 bench/compare_pytorch.py --build "$root" --device cuda \
      --rounds 2 --precision $one 2>&1 | tee -a "$out/speed.txt" || failed=1
  done
  report "[$figures]" "see the JSON, and beside PyTorch speed.txt"
  return $failed
}

accuracy() {
  local run=$root/run data=idx:$root/fashion-mnist cut same=true
  rm -rf "$run" "$run"-*
  "$root/bin/tacit" pretrain simclr --data "$data" --recipe fashion-mnist-demo --device cuda --out "$run" --quiet || return
  "$root/bin/tacit" evaluate "$run" --data "$data" --device cuda --quiet --json "$out/evaluate.json" || return
  tail -n 1 "$run/metrics.jsonl"
  # Stopped after two epochs and resumed to the end of the third: the bits of a run that was not.
  for cut in whole cut; do
    "$root/bin/tacit" pretrain simclr --data "$data" --recipe fashion-mnist-demo --limit 4096 --device cuda --quiet \
      --out "$run-$cut" --stop-after-epochs $([ $cut = cut ] && echo 2 || echo 3) || return
  done
  "$root/bin/tacit" pretrain simclr --resume --out "$run-cut" --stop-after-epochs 3 --quiet || return
  cmp "$run-whole/checkpoints/last.safetensors" "$run-cut/checkpoints/last.safetensors" || same=false
  report "{\"evaluate\": $(cat "$out/evaluate.json"), \"resume_bit_equal\": $same}" \
    "resume bit-equal: $same; kNN and linear in the JSON"
  [ $same = true ]
}

case $stage in
  pack) pack ;;
  table | sanitizer | speed | accuracy) unpack && $stage ;;
  *) echo "error: unknown stage '$stage'; known: pack, table, sanitizer, speed, accuracy" >&2; exit 2 ;;
esac
