#!/usr/bin/env bash
# On a processor that is no x86-64 the kernels are built once, as "native", and whatever uses kernels links those.
# Configures only, as for another processor; what would be linked is read from the build file.
# usage: other_processor.sh SOURCE_DIR CXX_COMPILER
set -eu -o pipefail
source=$1 compiler=$2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

cmake -S "$source" -B "$scratch/build" -G Ninja -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 > "$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }
bad=0
for target in bin/tacit bin/test_cpu_kernels bin/test_tensor; do
  line=$(grep "^build $target:" "$scratch/build/build.ninja") || { echo "no target $target"; bad=1; continue; }
  case $line in *kernels_native.dir/cpu/kernels/gemm.cpp.o*) ;; *) echo "error: $target links no kernels"; bad=1 ;; esac
  case $line in *kernels_v2.dir*) echo "error: $target links kernels for x86-64"; bad=1 ;; *) ;; esac
done
exit $bad
