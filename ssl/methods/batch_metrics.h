// Figures of one batch that show how training goes, as tensors of one element: a training step need not wait for them.
#pragma once

#include "tensor/tensor.h"

namespace tacit::ssl {

/// Standard deviation over the images of each dimension of the L2-normalised features, averaged, times sqrt(D): near 1
/// when healthy, 0 when all images have one feature (Chen & He, "Exploring Simple Siamese Representation Learning",
/// CVPR 2021, section 4.1). features (N, D).
Tensor feature_spread(const Tensor& features);

/// Fraction of the rows of logits (N, C) whose largest entry is at the label; labels (N) i64.
Tensor top1_of(const Tensor& logits, const Tensor& labels);

}  // namespace tacit::ssl
