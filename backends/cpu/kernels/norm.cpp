#include "backends/cpu/kernels/norm.h"

#include <type_traits>

#include "backends/cpu/kernels/run_sum.h"
#include "backends/cpu/kernels/simd.h"
#include "backends/cpu/kernels/widths.h"

namespace tacit::cpu::TACIT_ISA {
namespace {

template <int W, class T>
void squares(const T* x, int64_t rows, int64_t ld, const T* centre, double* acc) {
  for (int64_t r0 = 0; r0 < rows; r0 += kRun) {
    const int64_t r1 = r0 + kRun < rows ? r0 + kRun : rows;
    T lanes[W] = {};
    for (int64_t r = r0; r < r1; ++r)
      for (int c = 0; c < W; ++c) {
        const T d = x[r * ld + c] - centre[c];
        lanes[c] += d * d;
      }
    for (int c = 0; c < W; ++c) acc[c] += static_cast<double>(lanes[c]);
  }
}

template <class T>
void centred_squares(const T* x, int64_t rows, int64_t columns, const T* centre, double* acc) {
  for_widths<64, 16>(columns, [&](int64_t c, auto width) {
    squares<decltype(width)::value>(x + c, rows, columns, centre + c, acc + c);
  });
}

template <bool kRelu, bool kResidual, class T>
void apply_rows(T* y, const T* x, const T* residual, int64_t rows, int64_t columns, const T* __restrict mean,
                const T* __restrict scale, const T* __restrict shift) {
  for (int64_t r = 0; r < rows; ++r) {
    const T* const in = x + r * columns;
    const T* const plus = kResidual ? residual + r * columns : nullptr;
    T* const __restrict out = y + r * columns;
    for (int64_t c = 0; c < columns; ++c) {
      T v = (in[c] - mean[c]) * scale[c] + shift[c];
      if constexpr (kResidual) v += plus[c];
      if constexpr (kRelu) v = v < T(0) ? T(0) : v;
      out[c] = v;
    }
  }
}

template <class T>
void apply(T* y, const T* x, const T* residual, int64_t rows, int64_t columns, const T* mean, const T* scale,
           const T* shift, bool relu) {
  if (residual)
    relu ? apply_rows<true, true>(y, x, residual, rows, columns, mean, scale, shift)
         : apply_rows<false, true>(y, x, residual, rows, columns, mean, scale, shift);
  else
    relu ? apply_rows<true, false>(y, x, residual, rows, columns, mean, scale, shift)
         : apply_rows<false, false>(y, x, residual, rows, columns, mean, scale, shift);
}

enum class Mask { None, OfY, OfX };

/// Calls f with the kind of mask as a constant.
template <class T, class F>
void with_kind(const ReluMask<T>& mask, F&& f) {
  if (!mask.relu) return f(std::integral_constant<Mask, Mask::None>());
  if (mask.y) return f(std::integral_constant<Mask, Mask::OfY>());
  f(std::integral_constant<Mask, Mask::OfX>());
}

/// dy of an element, or 0; `c` is its column in scale and shift.
template <Mask M, class T>
T masked(const ReluMask<T>& mask, T dy, int64_t at, T centred, int64_t c) {
  if constexpr (M == Mask::OfY) return mask.y[at] > T(0) ? dy : T(0);
  if constexpr (M == Mask::OfX) return centred * mask.scale[c] + mask.shift[c] > T(0) ? dy : T(0);
  return dy;
}

template <int W, Mask M, class T>
void sums(const T* dy, const T* x, const ReluMask<T>& mask, int64_t rows, int64_t ld, const T* mean, double* sum_g,
          double* sum_gx) {
  for (int64_t r0 = 0; r0 < rows; r0 += kRun) {
    const int64_t r1 = r0 + kRun < rows ? r0 + kRun : rows;
    T a[W] = {}, b[W] = {};
    for (int64_t r = r0; r < r1; ++r)
      for (int c = 0; c < W; ++c) {
        const T centred = x[r * ld + c] - mean[c];
        const T g = masked<M>(mask, dy[r * ld + c], r * ld + c, centred, c);
        a[c] += g;
        b[c] += g * centred;
      }
    for (int c = 0; c < W; ++c) {
      sum_g[c] += static_cast<double>(a[c]);
      sum_gx[c] += static_cast<double>(b[c]);
    }
  }
}

template <class T>
void grad_sums(const T* dy, const T* x, const ReluMask<T>& mask, int64_t rows, int64_t columns, const T* mean,
               double* sum_g, double* sum_gx) {
  with_kind(mask, [&](auto kind) {
    for_widths<64, 16>(columns, [&](int64_t c, auto width) {
      const ReluMask<T> from{mask.relu, mask.y ? mask.y + c : nullptr, mask.scale + c, mask.shift + c};
      sums<decltype(width)::value, decltype(kind)::value>(dy + c, x + c, from, rows, columns, mean + c, sum_g + c,
                                                          sum_gx + c);
    });
  });
}

template <Mask M, bool kDx, bool kResidual, class T>
void grad_rows(T* dx, T* dresidual, const T* dy, const T* x, const ReluMask<T>& mask, int64_t rows, int64_t columns,
               const T* __restrict mean, const T* __restrict scale, const T* __restrict c1, const T* __restrict c2) {
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t at = r * columns;
    TACIT_IVDEP  // dx may be dy
        for (int64_t c = 0; c < columns; ++c) {
      const T centred = x[at + c] - mean[c];
      const T g = masked<M>(mask, dy[at + c], at + c, centred, c);
      if constexpr (kResidual) dresidual[at + c] = g;
      if constexpr (kDx) dx[at + c] = scale[c] * (g - c1[c] - centred * c2[c]);
    }
  }
}

template <class T>
void grad_apply(T* dx, T* dresidual, const T* dy, const T* x, const ReluMask<T>& mask, int64_t rows, int64_t columns,
                const T* mean, const T* scale, const T* c1, const T* c2) {
  with_kind(mask, [&](auto kind) {
    constexpr Mask M = decltype(kind)::value;
    if (dx && dresidual)
      grad_rows<M, true, true>(dx, dresidual, dy, x, mask, rows, columns, mean, scale, c1, c2);
    else if (dx)
      grad_rows<M, true, false>(dx, dresidual, dy, x, mask, rows, columns, mean, scale, c1, c2);
    else
      grad_rows<M, false, true>(dx, dresidual, dy, x, mask, rows, columns, mean, scale, c1, c2);
  });
}

template <class T>
void layer_row(T* y, T* mean_out, T* rstd_out, const T* x, int64_t n, const T* gamma, const T* beta, double eps) {
  const auto count = static_cast<double>(n);
  const double exact = run_sum<T>(n, [&](int64_t i) { return x[i]; }) / count;
  const T mean = static_cast<T>(exact);
  const double rest = exact - static_cast<double>(mean);  // what rounding the mean lost
  const double squares = run_sum<T>(n, [&](int64_t i) { return (x[i] - mean) * (x[i] - mean); });
  const double var = squares / count - rest * rest;
  const T rstd = static_cast<T>(1 / __builtin_sqrt((var > 0 ? var : 0) + eps));
  for (int64_t i = 0; i < n; ++i) y[i] = (x[i] - mean) * rstd * gamma[i] + beta[i];
  *mean_out = mean;
  *rstd_out = rstd;
}

template <class T>
void layer_row_grad(T* dx, const T* dy, const T* x, int64_t n, T mean, T rstd, const T* gamma) {
  const auto count = static_cast<double>(n);
  const T a = static_cast<T>(run_sum<T>(n, [&](int64_t i) { return gamma[i] * dy[i]; }) / count);
  const T b =
      static_cast<T>(run_sum<T>(n, [&](int64_t i) { return gamma[i] * dy[i] * ((x[i] - mean) * rstd); }) / count);
  TACIT_IVDEP  // dx may be dy
      for (int64_t i = 0; i < n; ++i) dx[i] = rstd * (gamma[i] * dy[i] - a - (x[i] - mean) * rstd * b);
}

template <class T>
void layer_grad_sums(const T* dy, const T* x, const T* mean, const T* rstd, int64_t rows, int64_t n, double* dgamma,
                     double* dbeta) {
  for_widths<64, 16>(n, [&](int64_t d, auto width) {
    constexpr int W = decltype(width)::value;
    for (int64_t r0 = 0; r0 < rows; r0 += kRun) {
      const int64_t r1 = r0 + kRun < rows ? r0 + kRun : rows;
      T a[W] = {}, b[W] = {};
      for (int64_t r = r0; r < r1; ++r)
        for (int c = 0; c < W; ++c) {
          const T g = dy[r * n + d + c];
          a[c] += g * ((x[r * n + d + c] - mean[r]) * rstd[r]);
          b[c] += g;
        }
      for (int c = 0; c < W; ++c) {
        dgamma[d + c] += static_cast<double>(a[c]);
        dbeta[d + c] += static_cast<double>(b[c]);
      }
    }
  });
}

template <class T>
constexpr NormTable<T> kTable = {centred_squares<T>, apply<T>,          grad_sums<T>,      grad_apply<T>,
                                 layer_row<T>,       layer_row_grad<T>, layer_grad_sums<T>};

}  // namespace

const NormTable<float>& norm_table(float) { return kTable<float>; }
const NormTable<double>& norm_table(double) { return kTable<double>; }

}  // namespace tacit::cpu::TACIT_ISA
