#!/usr/bin/env bash
# tacit.h is the whole public interface: it includes every installed header but the internal ones listed here, and none
# of them needs a library that users of tacit may not have.
# usage: public_headers.sh SOURCE_DIR
cd "$1" || exit 1
bad=0

# Not for users: hidden parts of the graph, what only .cpp files share, and the kinds of data behind open_data().
internal='autograd/composites.h autograd/node.h autograd/row_cross_entropy.h ssl/evaluate/rows_at_once.h ssl/train/append.h
  ssl/train/captured_step.h ssl/train/check.h ssl/train/entries/shared.h ssl/train/fitting_flags.h ssl/train/histogram.h
  ssl/train/inspection.h ssl/train/online_evaluation.h
  ssl/train/protobuf.h ssl/train/resize_positions.h ssl/train/summary.h ssl/train/tfevents.h ssl/train/watch.h
  tensor/augment_image.h tensor/augment_math.h tensor/augment_taps.h tensor/counted.h tensor/foreign_file.h
  tensor/free_blocks.h tensor/hd.h tensor/join.h'
for header in $(find tensor autograd nn optim ssl backends/cpu/backend.h -name '*.h' | sort); do
  grep -qx "#include \"$header\"" tacit.h && continue
  case " $(echo $internal) " in *" $header "*) continue ;; esac
  case $header in ssl/data/*) continue ;; esac
  echo "error: $header is in neither tacit.h nor the list of internal headers in tests/public_headers.sh"
  bad=1
done
for header in $(sed -n 's/^#include "\(.*\)"$/\1/p' tacit.h); do
  [ -e "$header" ] || { echo "error: tacit.h includes $header, which does not exist"; bad=1; }
done
if grep -rnE --include='*.h' '#include <(nlohmann|tbb|toml|archive|zlib|CLI|cblas|stb)' tensor autograd nn optim ssl \
  backends/cpu/backend.h tacit.h; then
  echo "error: a public header needs a library that only tacit's own files may include"
  bad=1
fi
exit $bad
