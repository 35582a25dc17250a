// A ViT's position embedding for another size of images. The rule is timm's (layers/pos_embed.py): the rows of the grid
// are resized as an image is, bicubically with antialias; those before the grid (the class token's) stay.
#pragma once

#include "tensor/tensor.h"

namespace tacit::ssl {

/// The side of the square grid that embeddings (1, 1 + side², D) are of; 0 where they are of none.
int64_t position_grid(const Shape&);
/// positions (1, 1 + old², D) f32 on device "cpu" -> (1, 1 + grid², D). Throws Error where there is no old grid.
Tensor resized_positions(const Tensor& positions, int64_t grid);

}  // namespace tacit::ssl
