// Pooling of one window: every channel at once, channels last.
#pragma once

#include <cstdint>

#include "backends/cpu/kernels/dispatch.h"

namespace tacit::cpu {

/// The pixels of an image (numbered h * W + w) that a window covers: rows times columns of them, none outside.
struct PoolPixels {
  int64_t first;                 ///< the top left one
  int64_t rows, row_step;        ///< from a row of the window to the next, in pixels
  int64_t columns, column_step;  ///< from a column to the next, in pixels
};

template <class T>
struct PoolTable {
  /// y[c] = the largest of the pixels, index[c] = the first pixel that has it (the first NaN if there is one). Pixels
  /// must be below 2^31.
  void (*max)(T* y, int64_t* index, const T* image, const PoolPixels&, int64_t channels);
  /// y[c] = sum of the pixels / size.
  void (*average)(T* y, const T* image, const PoolPixels&, int64_t channels, double size);
  /// image[pixel][c] += g[c] * share for every pixel.
  void (*spread)(T* image, const T* g, const PoolPixels&, int64_t channels, T share);
};

TACIT_ISA_TABLES(PoolTable, pool_table)

}  // namespace tacit::cpu
