#!/usr/bin/env bash
# Checks the CUDA backend on a machine with a GPU, in stages of at most ten minutes.
#   gpu_check.sh pack DIR [CIFAR10]    on any machine that builds tacit with CUDA, a GPU is not needed: writes
#                            DIR/tacit-gpu.tar.xz (programs, and the libraries they need: OpenBLAS, oneTBB, libarchive,
#                            …), DIR/data.tar, the demo's images, and, of CIFAR10's six binary files, one
#                            DIR/cifar10-FILE.xz of about 20 MiB each
#   gpu_check.sh pack-data DIR [CIFAR10]    the data alone
#   gpu_check.sh keep DIR    where the GPU is: nothing but what every stage does first, keeping on the machine's own disk
#                            what has arrived in DIR, so that archives may travel one at a time
#   gpu_check.sh table DIR [OUT]       where the GPU is, with nothing installed but CUDA, from this checkout: every
#                                      kernel, gradient, method and fixture on the device
#   gpu_check.sh sanitizer DIR [OUT]   the kernels' tests under compute-sanitizer
#   gpu_check.sh speed DIR [OUT]       products, attention and whole training steps beside PyTorch, what has a bar first
#   gpu_check.sh accuracy DIR [OUT]    the demo, trained and evaluated on the device; resume gives the same bits
#   gpu_check.sh cifar10-METHOD DIR [OUT]   simclr, moco, byol, mae or rotation on CIFAR-10 by its published recipe, and
#                                      its evaluation. Called again on the same machine it goes on where it was
# Each stage writes OUT/STAGE.json (default OUT: DIR) and ends with a line for docs/gpu-log.md; python3 makes those of
# speed and cifar10-METHOD, where figures that have a bar stand beside it.
#   GPU_CHECK_MINUTES=N     speed and cifar10-METHOD end before N minutes are over (default 9)
#   GPU_CHECK_FLAGS="…"     of `tacit pretrain` in cifar10-METHOD (default --precision bf16)
#   GPU_CHECK_DISK=DIR      the machine's own disk (default /tmp)
# To try the script without a GPU: GPU_CHECK_DEVICE=cpu takes the CPU in its place, GPU_CHECK_TINY=1 leaves next to
# nothing to compute; tests/gpu_check.sh does so.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
. tools/common.sh
[ $# -ge 2 ] || { sed -n '2,27s/^# //p' "$0"; [ $# = 0 ] || echo "error: $1 needs DIR" >&2; exit 2; }
stage=$1 dir=$2 out=${3:-$2}  # of pack: CIFAR10
device=${GPU_CHECK_DEVICE:-cuda} tiny=${GPU_CHECK_TINY:-} disk=${GPU_CHECK_DISK:-/tmp}
cifar10=$disk/tacit-gpu-cifar10
cifar10_files="data_batch_1.bin data_batch_2.bin data_batch_3.bin data_batch_4.bin data_batch_5.bin test_batch.bin"
[[ ${GPU_CHECK_MINUTES:-9} =~ ^[0-9]+(\.[0-9]+)?$ ]] ||
  { echo "error: GPU_CHECK_MINUTES expects a number of minutes, got '$GPU_CHECK_MINUTES'" >&2; exit 2; }
deadline=$(awk -v minutes="${GPU_CHECK_MINUTES:-9}" 'BEGIN { print int(60 * minutes) }')

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
  ldd build-cuda/bin/tacit | grep -q libcudnn && echo cuDNN > "$work/convolutions" || echo own > "$work/convolutions"
  tar -C "$work" -cf - . | xz --lzma2=preset=3,dict=192MiB > "$dir/tacit-gpu.tar.xz" || return
  rm -rf "$work"
  pack_data
}

pack_data() {
  local file
  mkdir -p "$dir" || return
  if [ -d /usr/share/datasets/fashion-mnist ]; then
    tar -C /usr/share/datasets -hcf "$dir/data.tar" fashion-mnist || return
  fi
  # A pixel is like the one to the left and the one above; as differences they take a tenth less.
  [ "$out" = "$dir" ] || for file in $cifar10_files; do
    xz --delta=dist=1 --delta=dist=32 --lzma2=preset=6,lc=0,lp=0,pb=0 -c "$out/$file" > "$dir/cifar10-$file.xz" || return
  done
  ls -l "$dir"
}

# What has arrived in DIR, onto the disk.
keep_cifar10() {
  local file bytes=$((10000 * 3073)) pids=() pid status=0
  mkdir -p "$cifar10" || return
  for file in $cifar10_files; do
    if [ ! -f "$dir/cifar10-$file.xz" ] || [ -f "$cifar10/$file" ]; then continue; fi
    {
      xz -dc "$dir/cifar10-$file.xz" > "$cifar10/$file.part" &&
        { [ -n "$tiny" ] || [ "$(stat -c %s "$cifar10/$file.part")" = $bytes ]; } &&
        mv "$cifar10/$file.part" "$cifar10/$file" ||
        { echo "error: $dir/cifar10-$file.xz is damaged, or not a file of 10,000 images: bring it again" >&2; exit 1; }
    } &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || status=1; done
  return $status
}

# The names of the pieces of CIFAR-10 that the disk lacks.
absent_cifar10() {
  local file
  for file in $cifar10_files; do [ -f "$cifar10/$file" ] || printf ' cifar10-%s.xz' "$file"; done
}

unpack() {
  # One directory an archive: a second one on the same machine does not test the first one's programs.
  local archive=$dir/tacit-gpu.tar.xz
  if [ -f "$archive" ]; then
    root=$disk/tacit-gpu-$(md5sum < "$archive" | cut -c1-8)
  else  # it travelled in an earlier call
    root=$(find "$disk" -maxdepth 2 -path "$disk/tacit-gpu-*/complete" -printf '%T@ %h\n' 2>/dev/null | sort -n | tail -n 1 | cut -d ' ' -f 2-)
    [ -n "$root" ] || { echo "error: there is no $archive, and none was unpacked in $disk before"; exit 1; }
  fi
  if [ ! -e "$root/complete" ]; then
    rm -rf "$root" && mkdir -p "$root" && tar -C "$root" -xJf "$archive" ||
      { echo "error: $archive is damaged: make it again by pack, or bring it again" >&2; exit 1; }
    touch "$root/complete"
  fi
  if [ -f "$dir/data.tar" ] && [ ! -e "$root/fashion-mnist" ]; then tar -C "$root" -xf "$dir/data.tar" || exit 1; fi
  keep_cifar10 || exit 1
  # The tests read their fixtures where they were compiled.
  local source
  source=$(cat "$root/source_dir")
  [ -e "$source" ] || { mkdir -p "$(dirname "$source")" && ln -s "$PWD" "$source"; }
  export LD_LIBRARY_PATH=$root/lib:/usr/local/cuda/lib64${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  # cuDNN may have come with a Python package only.
  local cudnn
  cudnn=$(python3 -c 'import nvidia.cudnn as c; print(c.__path__[0] + "/lib")' 2>/dev/null)
  LD_LIBRARY_PATH=$LD_LIBRARY_PATH${cudnn:+:$cudnn}
  if [ "$device" = cpu ]; then
    card="no GPU, the CPU in its place"
  else
    card=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | head -n 1)
    [ -n "$card" ] || { echo "error: nvidia-smi shows no GPU"; exit 1; }
  fi
  mkdir -p "$out"
}

# report FIGURES_JSON LINE: the stage's file, and the line for the log.
report() {
  printf '{"stage": "%s", "card": "%s", "commit": "%s", "convolutions": "%s", "date": "%s", "seconds": %d, "figures": %s}\n' \
    "$stage" "$card" "$(cat "$root/commit")" "$(cat "$root/convolutions")" "$(date +%F)" "$SECONDS" "$1" > "$out/$stage.json"
  printf '| %s | %s | %s | %s | %s |\n' "$(date +%F)" "$card" "$(cat "$root/commit")" "$stage" "$2"
}

table() {
  local test status line log passed=0 failed=0 broken="" late=""
  log=$(mktemp)
  : > "$out/table.log"
  for test in $(cat "$root/tests"); do
    within 300 env TACIT_TEST_DEVICE="$device" "$root/bin/$test" > "$log" 2>&1
    status=$?
    { echo "== $test"; cat "$log"; } >> "$out/table.log"
    line=$(grep 'test cases:' "$log" | tail -n 1)
    passed=$((passed + $(sed -E 's/.*\| *([0-9]+) passed.*/\1/' <<< "${line:-| 0 passed}")))
    failed=$((failed + $(sed -E 's/.*\| *([0-9]+) failed.*/\1/' <<< "${line:-| 0 failed}")))
    echo "$test: exit $status, ${line:-no summary}"
    if [ $status = 124 ]; then
      late="$late $test"  # time is up
    elif [ $status != 0 ]; then
      broken="$broken $test"
      grep -E -A 12 'ERROR|FATAL|terminate|\[cuda\]' "$log" | head -n "${GPU_CHECK_LINES:-40}"
    fi
  done
  report "{\"passed\": $passed, \"failed\": $failed, \"broken\": \"$broken\", \"out_of_time\": \"$late\"}" \
    "$passed passed, $failed failed${broken:+ (}${broken# }${broken:+)}${late:+; out of time:}$late"
  [ -z "$broken" ] && [ $passed -gt 0 ]
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

# within SECONDS COMMAND…: stopped after so many, and before the stage's time is over: asked by SIGINT, then made. 124 if so.
within() {
  local most=$1 remains=$((deadline - SECONDS))
  [ $remains -gt 0 ] || return 124
  timeout -s INT -k 10 $((most < remains ? most : remains)) "${@:2}"
}

speed() {
  local kept=$root/speed one failed=0 precision=bf16 rounds="--rounds 2" compile=--compile first other
  first="simclr-resnet18-512 mae-base-224 gemm attention"
  if [ -n "$tiny" ]; then first="gemm-64-32-16 attention-2-2-9-32" rounds="--rounds 1 --steps 2"; fi
  if [ "$device" = cpu ]; then precision=fp32 compile=""; fi
  if [ -d "$dir/wheels" ]; then  # timm, where the machine's Python lacks it
    python3 -m pip install -q --no-index --no-deps --upgrade --target "$disk/tacit-gpu-python" "$dir"/wheels/*.whl || failed=1
  fi
  mkdir -p "$kept" || return  # on the machine's disk, where the next call finds it
  # Beside PyTorch, in turns; what has a bar first, and nothing twice. When time is up (124), the next call goes on.
  # Seconds, precision and cases of each turn:
  while read -r seconds precision other; do
    # shellcheck disable=SC2086
    PYTHONPATH=$disk/tacit-gpu-python within "$seconds" python3 bench/compare_pytorch.py --build "$root" --device "$device" \
      $rounds --json "$kept/speed.jsonl" --missing --precision $precision $other < /dev/null 2>&1 |
      tee -a "$kept/speed.txt" || [ $? = 124 ] || failed=1
  done <<END
280 $precision $first
150 $precision $compile ${first%% *}
END
  if [ -z "$tiny" ]; then
    for one in simclr-resnet18 simclr-small-cnn resnet18-256 vit-tiny vit-tiny-224 mae-75; do
      grep -q "\"$one\"" "$kept/steps.jsonl" 2>/dev/null && continue
      within 30 "$root/bin/bench_train" $one 15 0 "$device" >> "$kept/steps.jsonl" || [ $? = 124 ] || failed=1
    done
    for one in "tf32 resnet18-256 vit-tiny-224" "fp32 resnet18-256 vit-tiny vit-tiny-224 simclr-resnet18 simclr-small-cnn"; do
      [ "$device" != cpu ] || continue
      # shellcheck disable=SC2086
      PYTHONPATH=$disk/tacit-gpu-python within 100 python3 bench/compare_pytorch.py --build "$root" --device "$device" \
        $rounds --json "$kept/speed.jsonl" --missing --precision $one 2>&1 | tee -a "$kept/speed.txt" || [ $? = 124 ] || failed=1
    done
  fi
  cp "$kept"/speed.* "$kept"/steps.* "$out/" 2>/dev/null
  report_bars speed "$kept/speed.jsonl" "$kept/steps.jsonl" || failed=1
  return $failed
}

# report_bars ARGUMENTS…: the report whose figures and line tools/gpu_bars.py makes.
report_bars() {
  local both
  both=$(python3 tools/gpu_bars.py "$@") || return
  report "$(head -n 1 <<< "$both")" "$(tail -n 1 <<< "$both")"
}

accuracy() {
  local run=$root/run cut same=true train=(--data "idx:$root/fashion-mnist") table=(--data "idx:$root/fashion-mnist") short=(--limit 4096)
  if [ -n "$tiny" ]; then
    train=(--data synthetic:128 --batch-size 32) short=()
    table=(--data synthetic:128 --labels-per-class 2 --draws 1 --supervised=false)
  fi
  rm -rf "$run" "$run"-*
  "$root/bin/tacit" pretrain simclr "${train[@]}" --recipe fashion-mnist-demo --device "$device" --out "$run" --quiet || return
  "$root/bin/tacit" evaluate "$run" "${table[@]}" --device "$device" --quiet --json "$out/evaluate.json" || return
  tail -n 1 "$run/metrics.jsonl"
  # Stopped after two epochs and resumed to the end of the third: the bits of a run that was not.
  for cut in whole cut; do
    "$root/bin/tacit" pretrain simclr "${train[@]}" --recipe fashion-mnist-demo "${short[@]}" --device "$device" --quiet \
      --out "$run-$cut" --stop-after-epochs "$([ $cut = cut ] && echo 2 || echo 3)" || return
  done
  "$root/bin/tacit" pretrain simclr --resume --out "$run-cut" --stop-after-epochs 3 --quiet || return
  cmp "$run-whole/checkpoints/last.safetensors" "$run-cut/checkpoints/last.safetensors" || same=false
  report "{\"evaluate\": $(cat "$out/evaluate.json"), \"resume_bit_equal\": $same}" \
    "resume bit-equal: $same; kNN and linear in the JSON"
  [ $same = true ]
}

# cifar10 METHOD: trains by the recipe up to each epoch that is evaluated, evaluates, and goes on with the next. What is
# there from an earlier call is not made again.
cifar10() {
  local method=$1 run=$root/cifar10-$1 recipe=cifar10 epochs epoch status=0 absent seconds tune=""
  local flags=${GPU_CHECK_FLAGS---precision bf16}
  absent=$(absent_cifar10)
  [ -z "$absent" ] || { echo "error: not here yet:$absent; bring them in DIR in this call or others"; return 1; }
  case $method in
    simclr) epochs=100 ;;
    moco) recipe=moco-cifar10-demo epochs="10 20 50 100" ;;
    *) epochs=200 ;;
  esac
  if [ -n "$tiny" ]; then
    flags="--limit 64 --batch-size 16 --encoder-width $([ "$method" = mae ] && echo 64 || echo 8)"
    tune="--epochs 1"
    [ "$method" = moco ] && flags="$flags --queue-size 32 --bn-splits 2" epochs="1 2 2 3" || epochs=2
  fi
  mkdir -p "$run.figures" || return
  for epoch in $epochs; do
    # shellcheck disable=SC2086
    if [ ! -e "$run.figures/epoch-$epoch" ]; then
      seconds=$SECONDS
      within 3600 "$root/bin/tacit" pretrain "$method" --data "cifar10:$cifar10" --recipe $recipe $flags --device "$device" \
        --out "$run" --resume --stop-after-epochs "$epoch" --quiet
      status=$?
      echo $((SECONDS - seconds)) >> "$run.figures/seconds"
      [ $status = 0 ] || break
      touch "$run.figures/epoch-$epoch"
    fi
    seconds=$SECONDS
    evaluate "$method" "$epoch"
    status=$?
    echo $((SECONDS - seconds)) >> "$run.figures/seconds"
    [ $status = 0 ] || break
  done
  cp "$run/metrics.jsonl" "$run.figures/" 2>/dev/null
  report_bars "$stage" "$run.figures" || return
  case $status in
    0) ;;
    124 | 130 | 137) echo "not finished: call this stage again on the same machine" && return 3 ;;
    *) return $status ;;
  esac
}

# figure NAME COMMAND ARGUMENTS…: `tacit COMMAND RUN …` with its figures in NAME.json, unless they are there.
figure() {
  [ -e "$run.figures/$1.json" ] && return
  within 3600 "$root/bin/tacit" "$2" "$run" --data "cifar10:$cifar10" --device "$device" --quiet "${@:3}" \
    --json "$run.figures/$1.json"
}
# evaluate METHOD EPOCH: what the recipe's source evaluates, of the run as it is.
evaluate() {
  case $1 in
    simclr)  # by majority: all neighbours weigh the same
      figure knn knn --k 10 --temperature 10000 && figure linear linear ;;
    moco) figure "knn-$2" knn --k 200 --temperature 0.1 --feature projection ;;
    byol) figure knn knn --k 200 --temperature 0.1 ;;
    mae)
      # shellcheck disable=SC2086
      figure finetuned finetune --recipe mixup $tune && figure scratch finetune --recipe mixup --from-scratch $tune ;;
    rotation)  # RotNet's own classifier: on the whole map, two hidden layers of 200
      # shellcheck disable=SC2086
      figure linear linear --feature block2 && figure block2 finetune --frozen block2 --hidden 200,200 \
        --augmentation rotation ${tune:---epochs 50} ;;
  esac
}

case $stage in
  pack) pack ;;
  pack-data) pack_data ;;
  keep) unpack && echo "kept in $root and $cifar10; of CIFAR-10 not here yet: $(absent_cifar10)" ;;
  table | sanitizer | speed | accuracy) unpack && $stage ;;
  cifar10-simclr | cifar10-moco | cifar10-byol | cifar10-mae | cifar10-rotation) unpack && cifar10 "${stage#cifar10-}" ;;
  cifar10-*) echo "error: unknown method '${stage#cifar10-}'; known: simclr, moco, byol, mae, rotation" >&2; exit 2 ;;
  *)
    echo "error: unknown stage '$stage'; known: pack, pack-data, keep, table, sanitizer, speed, accuracy, cifar10-METHOD" >&2
    exit 2
    ;;
esac
