#include "nn/position_embedding.h"

#include <cmath>
#include <vector>

namespace tacit::nn {

Tensor sincos_position_embedding(int64_t dim, int64_t grid_h, int64_t grid_w, bool class_token) {
  TACIT_CHECK(dim > 0 && dim % 4 == 0, "[sincos_position_embedding] the dimension must be a multiple of 4, got ", dim);
  TACIT_CHECK(grid_h > 0 && grid_w > 0, "[sincos_position_embedding] the grid ", grid_h, " x ", grid_w, " is empty");
  const int64_t quarter = dim / 4, tokens = grid_h * grid_w + (class_token ? 1 : 0);
  std::vector<float> values;
  values.reserve(static_cast<size_t>(tokens * dim));
  if (class_token) values.resize(static_cast<size_t>(dim), 0.0f);
  const auto append = [&](int64_t position, auto function) {
    for (int64_t i = 0; i < quarter; ++i) {
      const double frequency = std::pow(10000.0, -static_cast<double>(i) / static_cast<double>(quarter));
      values.push_back(static_cast<float>(function(static_cast<double>(position) * frequency)));
    }
  };
  const auto sine = [](double x) { return std::sin(x); };
  const auto cosine = [](double x) { return std::cos(x); };
  for (int64_t y = 0; y < grid_h; ++y) {
    for (int64_t x = 0; x < grid_w; ++x) {
      append(x, sine);
      append(x, cosine);
      append(y, sine);
      append(y, cosine);
    }
  }
  return Tensor::from(values, {1, tokens, dim});
}

}  // namespace tacit::nn
