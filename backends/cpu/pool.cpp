// Pooling: windows of whole channel vectors; rows of windows in parallel, for gradients images in parallel, since
// windows may overlap.
#include "backends/cpu/backend.h"
#include "backends/cpu/loops.h"

namespace tacit::cpu {

namespace {

constexpr int64_t kChannels = 64;  // summed together in double

/// The positions that a window covers along one axis, before clipping to the image.
struct Range {
  int64_t begin, end, step;
  int64_t size() const { return (end - begin + step - 1) / step; }
};

Range range(const Window& w, bool rows, int64_t i, int64_t n, int64_t size) {
  if (w.adaptive) return {i * size / n, ((i + 1) * size + n - 1) / n, 1};
  const int64_t begin = rows ? i * w.stride_h - w.padding_h : i * w.stride_w - w.padding_w;
  return rows ? Range{begin, begin + w.kernel_h * w.dilation_h, w.dilation_h}
              : Range{begin, begin + w.kernel_w * w.dilation_w, w.dilation_w};
}

/// Calls f(h * W + w) for each pixel of the image in window (i, j); the window's size, padding included.
template <class F>
int64_t for_pixels(const Window& window, const Shape& x, const Shape& y, int64_t i, int64_t j, F&& f) {
  const Range rows = range(window, true, i, y[1], x[1]), columns = range(window, false, j, y[2], x[2]);
  for (int64_t h = rows.begin; h < rows.end; h += rows.step)
    for (int64_t w = columns.begin; w < columns.end; w += columns.step)
      if (h >= 0 && h < x[1] && w >= 0 && w < x[2]) f(h * x[2] + w);
  return rows.size() * columns.size();
}

// The first pixel that has the largest value; the first NaN if there is one.
template <class T>
void max_window(T* y, int64_t* index, const T* image, const Window& window, const Shape& xs, const Shape& ys, int64_t i,
                int64_t j) {
  const int64_t C = xs[3];
  bool first = true;
  for_pixels(window, xs, ys, i, j, [&](int64_t pixel) {
    const T* const from = image + pixel * C;
    for (int64_t c = 0; c < C; ++c) {
      const bool better = first || (!(y[c] != y[c]) && (from[c] != from[c] || from[c] > y[c]));
      y[c] = better ? from[c] : y[c];
      index[c] = better ? pixel : index[c];
    }
    first = false;
  });
}

template <class T>
void average_window(T* y, const T* image, const Window& window, const Shape& xs, const Shape& ys, int64_t i,
                    int64_t j) {
  const int64_t C = xs[3];
  for (int64_t c0 = 0; c0 < C; c0 += kChannels) {
    const int64_t width = std::min(kChannels, C - c0);
    double sum[kChannels] = {};
    const int64_t size = for_pixels(window, xs, ys, i, j, [&](int64_t pixel) {
      for (int64_t c = 0; c < width; ++c) sum[c] += static_cast<double>(image[pixel * C + c0 + c]);
    });
    for (int64_t c = 0; c < width; ++c) y[c0 + c] = static_cast<T>(sum[c] / static_cast<double>(size));
  }
}

}  // namespace

void CpuBackend::pool(PoolOp op, const View& y, const View& index, const View& x, const Window& window) {
  const Shape& xs = x.shape;
  const Shape& ys = y.shape;
  if (y.numel() == 0) return;
  visit_floating("pool", y.dtype, [&](auto zero) {
    using T = decltype(zero);
    parallel_pieces(ys[0] * ys[1], [&](int64_t row) {
      const T* const image = x.ptr<T>() + row / ys[1] * xs[1] * xs[2] * xs[3];
      for (int64_t j = 0; j < ys[2]; ++j) {
        const int64_t at = (row * ys[2] + j) * ys[3];
        if (op == PoolOp::Max)
          max_window(y.ptr<T>() + at, index.ptr<int64_t>() + at, image, window, xs, ys, row % ys[1], j);
        else
          average_window(y.ptr<T>() + at, image, window, xs, ys, row % ys[1], j);
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
    parallel_pieces(xs[0], [&](int64_t n) {
      T* const to = dx.ptr<T>() + n * image;
      std::fill(to, to + image, T(0));
      for (int64_t i = 0; i < ys[1]; ++i)
        for (int64_t j = 0; j < ys[2]; ++j) {
          const int64_t at = ((n * ys[1] + i) * ys[2] + j) * C;
          const T* const g = dy.ptr<T>() + at;
          if (op == PoolOp::Max) {
            const int64_t* const chosen = index.ptr<int64_t>() + at;
            for (int64_t c = 0; c < C; ++c) to[chosen[c] * C + c] += g[c];
            continue;
          }
          const int64_t size = for_pixels(window, xs, ys, i, j, [](int64_t) {});
          const T share = T(1) / static_cast<T>(size);
          for_pixels(window, xs, ys, i, j, [&](int64_t pixel) {
            for (int64_t c = 0; c < C; ++c) to[pixel * C + c] += g[c] * share;
          });
        }
    });
  });
}

}  // namespace tacit::cpu
