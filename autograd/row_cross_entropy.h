// Cross-entropy over logits that are too many to keep: a contrastive loss has (rows, candidates) of them, 268 MB in f32
// for 4096 images of SimCLR. The rule: they exist for one block of rows at a time, and since the loss is a scalar its
// gradient, known up to a factor, is made from a block while it is there. Blocks depend on shapes only.
#pragma once

#include <functional>
#include <vector>

#include "autograd/variable.h"

namespace tacit {

/// Logits that exist at a time: 16 MB in f32, all of those of 1024 images (2048 views).
constexpr int64_t kLogitsAtATime = int64_t{1} << 22;

struct RowCrossEntropy {
  Tensor loss;  ///< mean over rows of -log softmax(logits)[label]
  Tensor top1;  ///< fraction of rows whose largest logit is the label's
};

/// logits(lo, hi) makes the logits (hi - lo, columns) of rows lo … hi-1; labels has one column a row. Where a gradient
/// is wanted, gradient(lo, hi, d) receives d loss / d those logits, block after block; an empty function is not called.
RowCrossEntropy row_cross_entropy(const std::vector<int64_t>& labels, int64_t columns,
                                  const std::function<Tensor(int64_t lo, int64_t hi)>& logits,
                                  const std::function<void(int64_t lo, int64_t hi, const Tensor& d)>& gradient);

}  // namespace tacit
