#!/usr/bin/env bash
# Runs every example without arguments in an empty directory and checks that it shows what it says.
# usage: examples.sh BUILD_DIR
set -u
bin=$1/bin
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1
failed=0
run() { "$bin/example_$1" >"$1.out" 2>"$1.err" || { echo "FAILED: example_$1"; cat "$1.out" "$1.err"; failed=1; }; }
# check TEXT FILE AWK_CONDITION over its last matching line, whose fields are the condition's $1, $2, …
check() {
  awk "$3" "$2" | grep -q yes || { echo "FAILED: $1"; cat "$2"; failed=1; }
}
for example in tensors gradients mlp simclr collapse mae; do run $example; done
check "the spirals are told apart" mlp.out '/^step/ { a = $(NF - 5) } END { if (a + 0 > 0.95) print "yes" }'
check "BYOL stays spread, the others collapse" collapse.out \
  '/^[0-9]/ { byol = $3; alone = $5; bare = $7 } END { if (byol > 0.3 && alone < byol / 2 && bare < byol / 3) print "yes" }'
check "MAE beats the mean colour" mae.out '/^step/ { l = $4 } END { if (l < 0.7) print "yes" }'
check "SimCLR learns" simclr.out '/^step/ { if (n++ == 0) first = $4; last = $4 } END { if (last < first) print "yes" }'
for file in mae_before.png mae_after.png encoder.safetensors; do
  [ -s "$file" ] || { echo "FAILED: there is no $file"; failed=1; }
done
exit $failed
