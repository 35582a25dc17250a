#!/usr/bin/env bash
# Runs every example without arguments in an empty directory and checks that it shows what it says, and what its page
# in docs/learn says it shows.
# usage: examples.sh BUILD_DIR SOURCE_DIR
set -u
bin=$1/bin source_dir=$2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1
failed=0
run() { "$bin/example_$1" >"$1.out" 2>"$1.err" || { echo "FAILED: example_$1"; cat "$1.out" "$1.err"; failed=1; }; }
# check TEXT FILE AWK_PROGRAM: the program must print yes.
check() {
  awk "$3" "$2" | grep -q yes || { echo "FAILED: $1"; cat "$2"; failed=1; }
}
for source in "$source_dir"/examples/[0-9]*.cpp; do
  [ "$(wc -l <"$source")" -lt 120 ] || { echo "FAILED: $source has 120 lines or more"; failed=1; }
  run "$(basename "$source" .cpp)"
done
check "three ways to one gradient" 01_gradients.out \
  '/^by hand/ { a = $3 $4 $5 } /^backward/ { b = $2 $3 $4 } /^finite/ { if (a == b && b == $3 $4 $5) print "yes" }'
check "a wrong gradient is found" 01_gradients.out '/^gradcheck of wrong_cube: input 0/ { print "yes" }'
check "the spirals are told apart" 03_mlp.out '/^step/ { a = $(NF - 5) } END { if (a + 0 > 0.95) print "yes" }'
check "the convnet learns shapes" 04_convolution.out '/^right/ { if ($NF > 0.6) print "yes" }'
check "SimCLR learns" 05_simclr.out '/^step/ { if (n++ == 0) first = $4; last = $4 } END { if (last < first) print "yes" }'
check "BYOL stays spread, the others collapse" 06_collapse.out \
  '/^[0-9]/ { byol = $3; alone = $5; bare = $7 } END { if (byol > 0.3 && alone < byol / 2 && bare < byol / 3) print "yes" }'
check "MAE beats the mean colour" 07_mae.out '/^step/ { l = $4; ++n } END { if (n && l < 0.7) print "yes" }'
check "VICReg beats the untrained network" 08_new_method.out '/^right/ { if ($NF > $(NF - 2) + 0.05) print "yes" }'
for file in mae_before.png mae_after.png encoder.safetensors tensors.safetensors; do
  [ -s "$file" ] || { echo "FAILED: there is no $file"; failed=1; }
done
bash "$source_dir/tests/doc_quotes.sh" "$source_dir" --outputs "$scratch" || failed=1
exit $failed
