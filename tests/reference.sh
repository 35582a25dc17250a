#!/usr/bin/env bash
# The target docs: Doxygen understands every comment of the public headers, each class and enum has one, and the ops of
# the tables are there.
# usage: reference.sh BUILD_DIR
set -eu -o pipefail
build=$1
if ! command -v doxygen >/dev/null; then
  echo "skipped: reference: doxygen is not installed"
  exit 77
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# Doxygen may have come after the build was configured.
cmake "$build" >"$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }
cmake --build "$build" --target docs >"$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }
pages=$build/docs/html
for word in 'strided data on a device' 'views: no data moves'; do
  grep -q "$word" "$pages/classtacit_1_1Tensor.html" || { echo "FAILED: the page of Tensor lacks '$word'"; exit 1; }
done
for op in relu conv2d; do
  grep -q ">$op<" "$pages/namespacetacit.html" || { echo "FAILED: no $op among tacit's functions"; exit 1; }
done

# The same headers again, to hear what has no comment. Structs that a table makes have it there.
sed -E -e 's/^(EXTRACT_ALL|WARN_AS_ERROR|GENERATE_HTML) .*/\1 = NO/' -e 's/^(WARN_IF_UNDOCUMENTED) .*/\1 = YES/' \
  -e "s|^OUTPUT_DIRECTORY .*|OUTPUT_DIRECTORY = $scratch|" "$build/Doxyfile.docs" >"$scratch/Doxyfile"
source=$(sed -n 's/^CMAKE_HOME_DIRECTORY:INTERNAL=//p' "$build/CMakeCache.txt")
(cd "$source" && doxygen "$scratch/Doxyfile") 2>&1 |
  grep -E 'Compound|\(enumeration\)' | grep -vE 'scalar::|DTypeOf|UnaryOp|BinaryOp' >"$scratch/undocumented" || true
[ ! -s "$scratch/undocumented" ] || { echo "FAILED: without a comment:"; cat "$scratch/undocumented"; exit 1; }
