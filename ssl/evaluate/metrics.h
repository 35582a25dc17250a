// Health of a representation without labels: has it collapsed, wholly or in most of its dimensions?
#pragma once

#include "tensor/tensor.h"

namespace tacit::ssl {

/// Standard deviation over the images of each dimension of the L2-normalised features, averaged, times sqrt(D): near 1
/// when healthy, 0 when all images have one feature (Chen & He, "Exploring Simple Siamese Representation Learning",
/// CVPR 2021, section 4.1). features (N, D).
double feature_std(const Tensor& features);

/// Effective rank: exp of the entropy of the singular values normalised to sum 1, between 1 and min(N, D) (Garrido et
/// al., "RankMe", ICML 2023, eq. 1; singular values below f64's precision count as 0). features (N, D); 0 if all are 0.
double rank_me(const Tensor& features);

}  // namespace tacit::ssl
