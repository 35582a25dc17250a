#!/usr/bin/env bash
# tools/test.sh finds its tests whatever tools/demo.sh, or anyone, left in the build directory's cache. Runs the real
# scripts in a scratch tree with a `cmake` that configures there and builds nothing; only what they configure is judged.
# And static builds that cannot be are refused, with the remedy.
# usage: build_options.sh SOURCE_DIR CXX_COMPILER
set -eu -o pipefail
source=$1 compiler=$2
real=$(command -v cmake)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

mkdir -p "$scratch/bin" "$scratch/tools"
cp "$source"/tools/*.sh "$scratch/tools"
cat > "$scratch/bin/cmake" <<END
#!/usr/bin/env bash
[ "\$1" = --preset ] || exit 0
shift 2
echo "\$@" >> "$scratch/configured"
exec "$real" -S "$source" -B "$scratch/build" -G Ninja -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_BUILD_TYPE=Release "\$@"
END
chmod +x "$scratch/bin/cmake"

# run NAME: the script up to its build; what comes after has nothing to run on and fails.
run() {
  PATH="$scratch/bin:$PATH" TACIT_SKIP_INSTALL=1 bash "$scratch/tools/$1" "$scratch/run" > "$scratch/log" 2>&1 || true
}
failed=0
expect_on() {
  for option in TACIT_TESTS TACIT_EXAMPLES TACIT_BENCHMARKS; do
    grep -q "^$option:BOOL=ON$" "$scratch/build/CMakeCache.txt" && continue
    echo "$1: $option is not ON: $(grep "^$option:" "$scratch/build/CMakeCache.txt")"
    failed=1
  done
}

run demo.sh
expect_on "a fresh tree after demo.sh"
PATH="$scratch/bin:$PATH" cmake --preset release -DTACIT_TESTS=OFF -DTACIT_EXAMPLES=OFF -DTACIT_BENCHMARKS=OFF > "$scratch/log"
run test.sh
expect_on "test.sh in a build directory without tests"
[ "$(wc -l < "$scratch/configured")" = 3 ] || { echo "not every script configured:"; cat "$scratch/configured" "$scratch/log"; failed=1; }

# refused PATTERN OPTION…: a build that cannot be, and the remedy in its message.
refused() {
  local pattern=$1
  shift
  if "$real" -S "$source" -B "$scratch/refused" -G Ninja -DCMAKE_CXX_COMPILER="$compiler" "$@" > "$scratch/log" 2>&1 ||
    ! tr -s ' \n' ' ' < "$scratch/log" | grep -q "$pattern"; then
    echo "$*: not refused with '$pattern':"
    cat "$scratch/log"
    failed=1
  fi
}
refused 'which tools/static.sh runs; .* is none' -DTACIT_STATIC=ON
mkdir -p "$scratch/onetbb/src/tbb" && touch "$scratch/onetbb/src/tbb/CMakeLists.txt"
refused 'TACIT_CUDA=ON and TACIT_STATIC' -DTACIT_STATIC=ON -DTACIT_TBB_SOURCE="$scratch/onetbb" -DTACIT_CUDA=ON
exit "$failed"
