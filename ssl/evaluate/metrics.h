// Health of a representation without labels: has it collapsed, wholly or in most of its dimensions?
#pragma once

#include "tensor/tensor.h"

namespace tacit::ssl {

/// feature_spread() of ssl/methods as a number. features (N, D), not empty.
double feature_std(const Tensor& features);

/// Effective rank: exp of the entropy of the singular values normalised to sum 1, between 1 and min(N, D) (Garrido et
/// al., "RankMe", ICML 2023, eq. 1; singular values below f64's precision count as 0). features (N, D); 0 if all are 0.
double rank_me(const Tensor& features);

}  // namespace tacit::ssl
