// Part of a data set at random: the same part in every process, whatever --seed is. The rule: a choice depends on the
// number of images, the number wanted and its purpose, and on nothing else.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include "tensor/random.h"

namespace tacit::ssl {

/// 0 … n-1 in an order drawn for this purpose.
inline std::vector<int64_t> shuffled_indices(int64_t n, const char* purpose) {
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), int64_t{0});
  Random random(0, random_stream(purpose));
  shuffle(order, random);
  return order;
}

/// `count` (at most n) of 0 … n-1, ascending: the first of shuffled_indices, so that a smaller choice is part of a
/// larger one.
inline std::vector<int64_t> some_indices(int64_t n, int64_t count, const char* purpose) {
  std::vector<int64_t> chosen = shuffled_indices(n, purpose);
  chosen.resize(static_cast<size_t>(count));
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

}  // namespace tacit::ssl
