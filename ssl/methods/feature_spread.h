// How spread out features are: the number that shows a collapse while it happens.
#pragma once

#include "tensor/tensor.h"

namespace tacit::ssl {

/// Standard deviation over the images of each dimension of the L2-normalised features, averaged, times sqrt(D): near 1
/// when healthy, 0 when all images have one feature (Chen & He, "Exploring Simple Siamese Representation Learning",
/// CVPR 2021, section 4.1). features (N, D); a tensor of one element, so that a training step need not wait for it.
Tensor feature_spread(const Tensor& features);

}  // namespace tacit::ssl
