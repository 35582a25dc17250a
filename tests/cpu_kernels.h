// What the tests of the CPU backend's products share: inputs, views, and the error against a result in f64.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "backends/cpu/backend.h"
#include "tensor/random.h"

namespace tacit::testing {

inline cpu::CpuBackend& backend() {
  static cpu::CpuBackend backend;
  return backend;
}

template <class T>
std::vector<T> numbers(int64_t n, uint64_t stream) {
  Random random(7, stream);
  std::vector<T> values(n);
  for (T& v : values) v = static_cast<T>(random.uniform(-1, 1));
  return values;
}

template <class T>
View view(std::vector<T>& values, const Shape& shape, const Strides& strides) {
  static T none;
  return {values.empty() ? &none : values.data(), dtype_of<T>, shape, strides};
}
template <class T>
View view(std::vector<T>& values, const Shape& shape) {
  return view(values, shape, row_major(shape));
}

// Largest difference over the largest expected value, in units of the type's rounding error times sqrt(terms).
template <class T>
double error(const std::vector<T>& got, const std::vector<double>& want, double terms) {
  REQUIRE(got.size() == want.size());
  double worst = 0, scale = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double difference = std::abs(static_cast<double>(got[i]) - want[i]);
    if (std::isnan(difference)) return std::numeric_limits<double>::infinity();
    worst = std::max(worst, difference);
    scale = std::max(scale, std::abs(want[i]));
  }
  if (scale == 0) return worst;
  return worst / scale / std::numeric_limits<T>::epsilon() / std::sqrt(std::max(1.0, terms));
}
inline constexpr double kTolerance = 8;

}  // namespace tacit::testing
