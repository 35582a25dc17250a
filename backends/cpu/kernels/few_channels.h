// Convolutions of images of very few channels, such as the first of a network. A tap's channels are too few to gather:
// the taps of a kernel row lie side by side in an image with its padding written out, `step` elements further from one
// output pixel to the next, and are read where they lie. Serial, f32.
#pragma once

#include <cstdint>

#include "backends/cpu/kernels/dispatch.h"

namespace tacit::cpu {

/// Output rows of one image, and what their first pixel's taps see in the padded image.
struct FewChannelsBand {
  int64_t rows, pixels;       ///< output rows, output pixels of a row
  int64_t kernel_rows, taps;  ///< rows of the kernel; elements of one, kernel_w * channels
  const float* x;             ///< what the first pixel of the first row sees first
  int64_t line, row_step;     ///< elements from a kernel row to the next, and from an output row's first to the next's
  int64_t step;               ///< from one output pixel to the next, see has_step
};

struct FewChannelsTable {
  int64_t lanes;  ///< filters must be a multiple
  bool (*has_step)(int64_t step);
  /// y (rows, pixels, filters) = x w; w[k][filter] with k = kernel row * taps + tap. x is read up to kFewChannelsSlack
  /// elements beyond a row's last pixel.
  void (*forward)(const FewChannelsBand&, float* y, const float* w, int64_t filters);
  /// dw[k][filter] += sum over rows and pixels of x dy, in their order.
  void (*weights)(const FewChannelsBand&, const float* dy, float* dw, int64_t filters);
};
inline constexpr int64_t kFewChannelsSlack = 12 * 6;

TACIT_ISA_TABLE(FewChannelsTable, few_channels_table)

}  // namespace tacit::cpu
