// Pooling: windows of whole channel vectors; rows of windows in parallel, for gradients images in parallel, since
// windows may overlap.
#include "backends/cpu/kernels/pool.h"

#include <limits>

#include "backends/cpu/backend.h"
#include "backends/cpu/loops.h"
#include "tensor/error.h"

namespace tacit::cpu {

namespace {

/// What a window covers along one axis of the image.
struct Range {
  int64_t begin, count, step;  ///< inside the image
  int64_t size;                ///< padding included
};

Range clipped(int64_t begin, int64_t size, int64_t step, int64_t length) {
  const int64_t skipped = begin < 0 ? (step - 1 - begin) / step : 0, first = begin + skipped * step;
  const int64_t fitting = first < length ? (length - first + step - 1) / step : 0;
  return {first, std::max<int64_t>(0, std::min(size - skipped, fitting)), step, size};
}

Range adaptive(int64_t i, int64_t n, int64_t length) {
  const int64_t begin = i * length / n, count = ((i + 1) * length + n - 1) / n - begin;
  return {begin, count, 1, count};
}

struct Covered {
  PoolPixels pixels;
  int64_t size;  ///< padding included
};

Covered covered(const Window& w, const Shape& x, const Shape& y, int64_t i, int64_t j) {
  const Range h =
      w.adaptive ? adaptive(i, y[1], x[1]) : clipped(i * w.stride_h - w.padding_h, w.kernel_h, w.dilation_h, x[1]);
  const Range v =
      w.adaptive ? adaptive(j, y[2], x[2]) : clipped(j * w.stride_w - w.padding_w, w.kernel_w, w.dilation_w, x[2]);
  return {{h.begin * x[2] + v.begin, h.count, h.step * x[2], v.count, v.step}, h.size * v.size};
}

}  // namespace

void CpuBackend::pool(PoolOp op, const View& y, const View& index, const View& x, const Window& window) {
  const Shape& xs = x.shape;
  const Shape& ys = y.shape;
  if (y.numel() == 0) return;
  TACIT_CHECK(op == PoolOp::Average || xs[1] * xs[2] <= std::numeric_limits<int32_t>::max(),
              "[pool] an image of the input ", xs, " has more than 2^31 - 1 pixels; cut it up");
  visit_floating("pool", y.dtype, [&](auto zero) {
    using T = decltype(zero);
    const int64_t rows = ys[0] * ys[1], row_cost = std::max<int64_t>(1, x.numel() / rows);
    parallel_ranges(rows, kPiece / row_cost, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const T* const image = x.ptr<T>() + row / ys[1] * xs[1] * xs[2] * xs[3];
        for (int64_t j = 0; j < ys[2]; ++j) {
          const int64_t at = (row * ys[2] + j) * ys[3];
          const Covered c = covered(window, xs, ys, row % ys[1], j);
          if (op == PoolOp::Max)
            pool_table(zero).max(y.ptr<T>() + at, index.ptr<int64_t>() + at, image, c.pixels, xs[3]);
          else
            pool_table(zero).average(y.ptr<T>() + at, image, c.pixels, xs[3], static_cast<double>(c.size));
        }
      }
    });
  });
}

void CpuBackend::pool_grad(PoolOp op, const View& dx, const View& dy, const View& index, const Window& window) {
  const Shape& xs = dx.shape;
  const Shape& ys = dy.shape;
  if (dx.numel() == 0) return;
  const int64_t image = xs[1] * xs[2] * xs[3], C = xs[3];
  visit_floating("pool_grad", dx.dtype, [&](auto zero) {
    using T = decltype(zero);
    parallel_ranges(xs[0], kPiece / image, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        T* const to = dx.ptr<T>() + n * image;
        std::fill(to, to + image, T(0));
        for (int64_t i = 0; i < ys[1]; ++i)
          for (int64_t j = 0; j < ys[2]; ++j) {
            const int64_t at = ((n * ys[1] + i) * ys[2] + j) * C;
            const T* const g = dy.ptr<T>() + at;
            if (op == PoolOp::Max) {
              const int64_t* const chosen = index.ptr<int64_t>() + at;
              for (int64_t c = 0; c < C; ++c) to[chosen[c] * C + c] += g[c];
            } else {
              const Covered c = covered(window, xs, ys, i, j);
              pool_table(zero).spread(to, g, c.pixels, C, T(1) / static_cast<T>(c.size));
            }
          }
      }
    });
  });
}

}  // namespace tacit::cpu
