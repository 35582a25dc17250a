// Fixed two-dimensional position embeddings. They are numbers only: where they are added is the network's business.
// The rule: tokens are in row-major order of the grid, (row 0, column 0), (row 0, column 1), …
#pragma once

#include "tensor/tensor.h"

namespace tacit::nn {

/// MAE's get_2d_sincos_pos_embed: for each token [sin(x w), cos(x w), sin(y w), cos(y w)], x the column, y the row,
/// w[i] = 10000^(-i / (dim / 4)) for i < dim / 4; with a row of zeros for the class token before them if wanted.
/// (1, class_token + grid_h grid_w, dim), f32; computed in f64. dim must be a multiple of 4.
Tensor sincos_position_embedding(int64_t dim, int64_t grid_h, int64_t grid_w, bool class_token);

}  // namespace tacit::nn
