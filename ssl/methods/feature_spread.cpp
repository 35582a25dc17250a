#include "ssl/methods/feature_spread.h"

#include <cmath>

#include "tensor/ops.h"

namespace tacit::ssl {

Tensor feature_spread(const Tensor& features) {
  const double d = std::sqrt(static_cast<double>(features.size(-1)));
  return mean(sqrt(var(l2_normalize(features), {0})) * d);
}

}  // namespace tacit::ssl
