// Convolution and its two gradients.
//
//   y[n, i, j, k] = sum over (r, s, c) of x[n, i * stride + r * dilation - padding, j * …, g C + c] w[k, r, s, c]
//
// with C input channels a group and g the group of output channel k; x is 0 outside the image. Every term couples one
// element of y, x and w, so the three kernels walk the same terms and differ only in which of the three they add to.
#include <vector>

#include "backends/reference/backend.h"
#include "backends/reference/loops.h"

namespace tacit::reference {

namespace {

/// Calls f(offset in y, offset in x, offset in w) for every term of the sum above.
template <class F>
void for_each_term(const Shape& y, const Shape& x, const Shape& w, const Window& window, F&& f) {
  const int64_t group_in = w[3], group_out = y[3] / (x[3] / group_in);
  for (int64_t n = 0; n < y[0]; ++n)
    for (int64_t i = 0; i < y[1]; ++i)
      for (int64_t j = 0; j < y[2]; ++j)
        for (int64_t k = 0; k < y[3]; ++k)
          for (int64_t r = 0; r < w[1]; ++r)
            for (int64_t s = 0; s < w[2]; ++s) {
              const int64_t row = i * window.stride_h + r * window.dilation_h - window.padding_h;
              const int64_t column = j * window.stride_w + s * window.dilation_w - window.padding_w;
              if (row < 0 || row >= x[1] || column < 0 || column >= x[2]) continue;  // padding: x is 0
              const int64_t first_channel = k / group_out * group_in;
              for (int64_t c = 0; c < group_in; ++c)
                f(dense_offset(y, n, i, j, k), dense_offset(x, n, row, column, first_channel + c),
                  dense_offset(w, k, r, s, c));
            }
}

/// out = the sums that `add(sums)` collects in double, one for each element.
template <class T, class F>
void write_sums(const View& out, F&& add) {
  std::vector<double> sums(static_cast<size_t>(out.numel()));
  add(sums.data());
  for (size_t i = 0; i < sums.size(); ++i) out.ptr<T>()[i] = static_cast<T>(sums[i]);
}

}  // namespace

void ReferenceBackend::conv2d(const View& y, const View& x, const View& w, const Window& window) {
  visit_floating("conv2d", y.dtype, [&](auto zero) {
    using T = decltype(zero);
    write_sums<T>(y, [&](double* sums) {
      for_each_term(y.shape, x.shape, w.shape, window, [&](int64_t iy, int64_t ix, int64_t iw) {
        sums[iy] += static_cast<double>(x.ptr<T>()[ix]) * static_cast<double>(w.ptr<T>()[iw]);
      });
    });
  });
}

void ReferenceBackend::conv2d_dx(const View& dx, const View& dy, const View& w, const Window& window) {
  visit_floating("conv2d_dx", dx.dtype, [&](auto zero) {
    using T = decltype(zero);
    write_sums<T>(dx, [&](double* sums) {
      for_each_term(dy.shape, dx.shape, w.shape, window, [&](int64_t iy, int64_t ix, int64_t iw) {
        sums[ix] += static_cast<double>(dy.ptr<T>()[iy]) * static_cast<double>(w.ptr<T>()[iw]);
      });
    });
  });
}

void ReferenceBackend::conv2d_dw(const View& dw, const View& x, const View& dy, const Window& window) {
  visit_floating("conv2d_dw", dw.dtype, [&](auto zero) {
    using T = decltype(zero);
    write_sums<T>(dw, [&](double* sums) {
      for_each_term(dy.shape, x.shape, dw.shape, window, [&](int64_t iy, int64_t ix, int64_t iw) {
        sums[iw] += static_cast<double>(dy.ptr<T>()[iy]) * static_cast<double>(x.ptr<T>()[ix]);
      });
    });
  });
}

}  // namespace tacit::reference
