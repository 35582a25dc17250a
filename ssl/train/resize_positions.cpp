#include "ssl/train/resize_positions.h"

#include <cmath>

#include "ssl/data/resample.h"
#include "tensor/ops.h"

namespace tacit::ssl {

int64_t position_grid(const Shape& shape) {
  if (shape.rank() != 3 || shape[0] != 1 || shape[1] < 2) return 0;
  const int64_t side = std::llround(std::sqrt(static_cast<double>(shape[1] - 1)));
  return side * side == shape[1] - 1 ? side : 0;
}

Tensor resized_positions(const Tensor& positions, int64_t grid) {
  const int64_t old = position_grid(positions.shape());
  TACIT_CHECK(old > 0 && grid > 0, "[resized_positions] (1, 1 + side², D) is needed and a grid to make, got ",
              positions.shape(), " and ", grid);
  const int64_t dim = positions.size(2);
  const Tensor weights =
      Tensor::from(resampling_matrix(old, grid, Filter::Bicubic), {grid, old}, positions.device());  // of either side
  const Tensor rows = matmul(weights, positions.slice(1, 1, 1 + old * old).reshape({old, old * dim}));
  const Tensor both = matmul(weights, rows.reshape({grid, old, dim}));
  return concatenate(std::vector<Tensor>{positions.slice(1, 0, 1), both.reshape({1, grid * grid, dim})}, 1);
}

}  // namespace tacit::ssl
