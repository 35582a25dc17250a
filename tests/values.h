// Helpers of the tests of tensors: values in and out as doubles, and the comparison.
#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace tacit::testing {

/// A tensor of any dtype from doubles; on the default device.
inline Tensor tensor_of(const std::vector<double>& values, const Shape& shape, DType dtype = f32) {
  return Tensor::from(values, shape).to(dtype);
}

inline std::vector<double> values_of(const Tensor& t) { return t.to(f64).to_vector<double>(); }

/// Checks every element in row-major order; an expected NaN or infinity must be met exactly.
inline void check_values(const Tensor& actual, const std::vector<double>& expected, double tolerance = 1e-6) {
  const std::vector<double> values = values_of(actual);
  REQUIRE(values.size() == expected.size());
  for (size_t i = 0; i < values.size(); ++i) {
    INFO("element ", i, ": ", values[i], ", expected ", expected[i]);
    const bool same = std::isnan(expected[i]) ? std::isnan(values[i]) : values[i] == expected[i];
    CHECK((same || std::abs(values[i] - expected[i]) <= tolerance * (1 + std::abs(expected[i]))));
  }
}

/// The message of the Error that f throws; "" when it throws none.
template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

inline bool mentions(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// Makes the reference backend the default one for a test case (TEST_CASE_FIXTURE).
struct OnReference {
  DeviceScope scope{Device("reference")};
  Backend& backend = Device("reference").backend();
};

}  // namespace tacit::testing
