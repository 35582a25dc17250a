// Pooling: the largest element or the average of each window of each channel.
#include <vector>

#include "backends/reference/backend.h"
#include "backends/reference/loops.h"

namespace tacit::reference {

namespace {

/// The positions begin, begin + step, … below end that a window covers, before clipping to the image.
struct Range {
  int64_t begin, end, step;
};

Range adaptive_range(int64_t i, int64_t n, int64_t size) { return {i * size / n, ((i + 1) * size + n - 1) / n, 1}; }

Range strided_range(int64_t i, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation) {
  const int64_t begin = i * stride - padding;
  return {begin, begin + kernel * dilation, dilation};
}

/// Calls f(h * W + w, offset in x) for every pixel of the image in window (i, j), and gives the size of the window
/// with its padding.
template <class F>
int64_t for_each_pixel(const Window& window, const Shape& x, const Shape& y, int64_t n, int64_t i, int64_t j, int64_t c,
                       F&& f) {
  const Range rows = window.adaptive
                         ? adaptive_range(i, y[1], x[1])
                         : strided_range(i, window.kernel_h, window.stride_h, window.padding_h, window.dilation_h);
  const Range columns = window.adaptive
                            ? adaptive_range(j, y[2], x[2])
                            : strided_range(j, window.kernel_w, window.stride_w, window.padding_w, window.dilation_w);
  int64_t size = 0;
  for (int64_t h = rows.begin; h < rows.end; h += rows.step)
    for (int64_t w = columns.begin; w < columns.end; w += columns.step) {
      ++size;
      if (h >= 0 && h < x[1] && w >= 0 && w < x[2]) f(h * x[2] + w, dense_offset(x, n, h, w, c));
    }
  return size;
}

/// Calls f(n, i, j, c, offset in y) for every element of y.
template <class F>
void for_each_window(const Shape& y, F&& f) {
  for (int64_t n = 0; n < y[0]; ++n)
    for (int64_t i = 0; i < y[1]; ++i)
      for (int64_t j = 0; j < y[2]; ++j)
        for (int64_t c = 0; c < y[3]; ++c) f(n, i, j, c, dense_offset(y, n, i, j, c));
}

}  // namespace

// Max: y = max of the window, index = the first pixel that has it (the first NaN if there is one).
// Average: y = sum of the window / its size, padding counted as zeros.
void ReferenceBackend::pool(PoolOp op, const View& y, const View& index, const View& x, const Window& window) {
  visit_floating("pool", y.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* const in = x.ptr<T>();
    for_each_window(y.shape, [&](int64_t n, int64_t i, int64_t j, int64_t c, int64_t o) {
      if (op == PoolOp::Max) {
        int64_t best = -1, best_offset = -1;
        for_each_pixel(window, x.shape, y.shape, n, i, j, c, [&](int64_t pixel, int64_t offset) {
          if (best >= 0 && !beats(ReduceOp::Max, in[offset], in[best_offset])) return;
          best = pixel;
          best_offset = offset;
        });
        y.ptr<T>()[o] = in[best_offset];
        index.ptr<int64_t>()[o] = best;
      } else {
        double sum = 0;
        const int64_t size = for_each_pixel(window, x.shape, y.shape, n, i, j, c,
                                            [&](int64_t, int64_t offset) { sum += static_cast<double>(in[offset]); });
        y.ptr<T>()[o] = static_cast<T>(sum / static_cast<double>(size));
      }
    });
  });
}

// Max: dy goes to the pixel that was chosen. Average: dy / size goes to every pixel of the window. Windows may overlap.
void ReferenceBackend::pool_grad(PoolOp op, const View& dx, const View& dy, const View& index, const Window& window) {
  const Shape& x = dx.shape;
  visit_floating("pool_grad", dx.dtype, [&](auto zero) {
    using T = decltype(zero);
    std::vector<double> sums(static_cast<size_t>(dx.numel()));
    for_each_window(dy.shape, [&](int64_t n, int64_t i, int64_t j, int64_t c, int64_t o) {
      const auto g = static_cast<double>(dy.ptr<T>()[o]);
      if (op == PoolOp::Max) {
        const int64_t pixel = index.ptr<int64_t>()[o];
        sums[static_cast<size_t>(dense_offset(x, n, pixel / x[2], pixel % x[2], c))] += g;
      } else {
        const int64_t size = for_each_pixel(window, x, dy.shape, n, i, j, c, [](int64_t, int64_t) {});
        for_each_pixel(window, x, dy.shape, n, i, j, c, [&](int64_t, int64_t offset) {
          sums[static_cast<size_t>(offset)] += g / static_cast<double>(size);
        });
      }
    });
    for (size_t i = 0; i < sums.size(); ++i) dx.ptr<T>()[i] = static_cast<T>(sums[i]);
  });
}

}  // namespace tacit::reference
