// The small models that the tests of contrastive and momentum methods put bugs into.
#pragma once

#include "ssl/methods/byol.h"
#include "ssl/methods/moco.h"
#include "tests/momentum.h"

namespace tacit::testing {

inline ssl::MoCoOptions moco_options(const std::string& variant = "v2") {
  return {.variant = variant,
          .temperature = 0.2,
          .queue_size = 2 * kImages,
          .momentum = 0.9,
          .projector = {16, 6},
          .predictor = {12, 6}};
}
inline ssl::BYOLOptions byol_options() { return {.target_momentum = 0.9, .projector = {16, 6}, .predictor = {12, 6}}; }

/// A method in f64 whose slow branch, where it has one, is behind the online one.
template <class M, class Options>
M ready(const Options& options) {
  M model(tiny_encoder(), options);
  model.to(f64);
  disturb(model);
  return model;
}

inline ssl::Branch moco_branch(bool v3) { return {tiny_encoder(), {16, 6}, {.batch_norm = v3, .last_batch_norm = v3}}; }
inline ssl::Branch byol_branch() { return {tiny_encoder(), {16, 6}, {.last_bias = false}}; }

inline Tensor unit_rows(int64_t rows, int64_t d, DType dtype = f64) {
  return l2_normalize(Tensor::normal({rows, d}, 3, 4, dtype));
}

}  // namespace tacit::testing
