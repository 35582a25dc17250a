// The inner loops of image augmentation (ssl/data): colours of interleaved RGB pixels, and weighted sums of rows, which
// resizing and blurring are made of. Serial: loaders have threads of their own.
#pragma once

#include <cstdint>

#include "backends/cpu/kernels/dispatch.h"

namespace tacit::cpu {

struct AugmentTable {
  /// out[i] = sum over k < count of weights[k] * rows[k][i], for i < n. out is none of the rows.
  void (*weighted_sum)(float* out, const float* const* rows, const float* weights, int64_t count, int64_t n);
  /// x = x * factor + shift, cut to [0, 1].
  void (*scale)(float* x, int64_t n, float factor, float shift);
  /// The sum of the pixels' grays (.299 R + .587 G + .114 B).
  double (*gray_sum)(const float* rgb, int64_t pixels);
  /// Every channel becomes the gray.
  void (*to_gray)(float* rgb, int64_t pixels);
  /// x = gray + factor * (x - gray), cut to [0, 1].
  void (*saturate)(float* rgb, int64_t pixels, float factor);
  /// Turns the hue by `turn`, -1 … 1, of the full circle (Foley et al.'s hexcone model, as colorsys and torchvision).
  void (*turn_hue)(float* rgb, int64_t pixels, float turn);
  /// x = (x - mean) * scale for each of 1 or 3 interleaved channels.
  void (*normalise)(float* x, int64_t pixels, int64_t channels, const float* mean, const float* scale);
};

TACIT_ISA_TABLE(AugmentTable, augment_table)

}  // namespace tacit::cpu
