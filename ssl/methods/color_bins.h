// The ab plane cut into squares of 10 x 10 (Zhang, Isola & Efros 2016, section 2.1), and what their colorization does
// with them: soft codes, class rebalancing, decoding by an annealed mean.
// The rule: a bin is one whose square holds an 8-bit sRGB colour: 261 of them, found here by looking at every colour
// on the surface of the RGB cube (the interior adds none). The paper's list has 313: it also holds squares up to about
// one bin outside the gamut, which no pixel can fall into.
#pragma once

#include "tensor/tensor.h"

namespace tacit::ssl {

/// Centres (Q, 2) in rising order of a, then b; f64 on the host. Computed once in a process.
const Tensor& color_bins();

/// Of P colours, the k nearest bins, nearest first, with Gaussian weights that sum to 1.
struct SoftCode {
  Tensor index;   ///< (P, k) i64
  Tensor weight;  ///< (P, k)
};
/// ab (P, 2), bins (Q, 2) of one dtype; weight ∝ exp(-|ab - bin|² / (2 sigma²)) among the k <= Q nearest.
SoftCode soft_encode(const Tensor& ab, const Tensor& bins, int64_t k, double sigma);

/// Weights (Q) of classes with these frequencies (Q), which sum to 1: w ∝ 1 / ((1 - uniform) prior + uniform / Q),
/// scaled so that sum(prior * w) = 1 (eq. 4). 0 < uniform <= 1; at 1 every weight is 1.
Tensor rebalancing_weights(const Tensor& prior, double uniform);

/// softmax(logits / temperature) bins: logits (…, Q) -> ab (…, 2) (eq. 5); temperature 1 is the mean, towards 0 the
/// mode.
Tensor annealed_mean(const Tensor& logits, const Tensor& bins, double temperature);

}  // namespace tacit::ssl
