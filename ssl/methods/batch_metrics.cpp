#include "ssl/methods/batch_metrics.h"

#include <cmath>

#include "tensor/ops.h"

namespace tacit::ssl {

Tensor feature_spread(const Tensor& features) {
  const double d = std::sqrt(static_cast<double>(features.size(-1)));
  return mean(sqrt(var(l2_normalize(features), {0})) * d);
}

Tensor top1_of(const Tensor& logits, const Tensor& labels) {
  return mean(equal(argmax(widen(logits)), labels).to(f32));
}

}  // namespace tacit::ssl
