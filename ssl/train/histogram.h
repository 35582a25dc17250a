// A histogram as TensorBoard draws it: of numbers of any scale, in buckets an eighth of an octave wide.
// The rule: a bucket is the first bits of a float, its exponent and three bits of its mantissa, so that counting is a
// shift and needs no scale beforehand.
#pragma once

#include <cstdint>
#include <vector>

#include "tensor/tensor.h"

namespace tacit::ssl {

struct Histogram {
  double min = 0, max = 0, sum = 0, sum_squares = 0;
  int64_t count = 0;
  std::vector<double> limits;  ///< upper ends of the buckets, rising; the first begins at min
  std::vector<double> counts;  ///< of each bucket: the values from the limit before it up to, but without, its own
};

/// Of all values of the tensors; NaN and infinite ones are left out. Values below about a thousandth of the largest
/// share one bucket around 0; neighbouring empty buckets are one.
Histogram histogram_of(const std::vector<Tensor>& tensors);

}  // namespace tacit::ssl
