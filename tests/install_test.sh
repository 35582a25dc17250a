#!/usr/bin/env bash
# Installs the build into an empty prefix, builds tests/toy_project against find_package(tacit) alone, and runs it.
# usage: install_test.sh SOURCE_DIR BUILD_DIR CXX_COMPILER
set -eu -o pipefail
source=$1 build=$2 compiler=$3
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

cmake --install "$build" --prefix "$scratch/prefix" > "$scratch/install.log" || { cat "$scratch/install.log"; exit 1; }
# A copy: nothing of the source tree but the test's own files may be found by relative includes.
mkdir -p "$scratch/tree/tests" "$scratch/tree/examples"
cp -r "$source"/tests/toy_project "$source"/tests/op_table* "$source"/tests/toy_backend.h "$scratch/tree/tests"
cp "$source"/examples/01_gradients.cpp "$scratch/tree/examples"

cmake -S "$scratch/tree/tests/toy_project" -B "$scratch/build" -DCMAKE_PREFIX_PATH="$scratch/prefix" \
  -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_BUILD_TYPE=Debug > "$scratch/configure.log" || { cat "$scratch/configure.log"; exit 1; }
cmake --build "$scratch/build" --parallel 2 > "$scratch/build.log" || { cat "$scratch/build.log"; exit 1; }
"$scratch/build/toy" 2> "$scratch/warnings.log" || { cat "$scratch/warnings.log"; exit 1; }
"$scratch/build/example"
