#include "backends/cpu/kernels/reduce.h"

#include "backends/cpu/kernels/run_sum.h"
#include "backends/cpu/kernels/widths.h"
#include "tensor/scalar_ops.h"

namespace tacit::cpu::TACIT_ISA {
namespace {

template <class T>
double sum(const T* x, int64_t n, int64_t stride) {
  if (stride == 1) return run_sum<T>(n, [&](int64_t i) { return x[i]; });
  double total = 0;
  for (int64_t i = 0; i < n; ++i) total += static_cast<double>(x[i * stride]);
  return total;
}

template <class T>
double sum_squares(const T* x, int64_t n) {
  return run_sum<double>(n, [&](int64_t i) { return static_cast<double>(x[i]) * static_cast<double>(x[i]); });
}

template <class F, class T>
T extreme(const T* x, int64_t n, int64_t stride) {
  T best = x[0];
  int64_t i = 0;
  if (stride == 1 && n >= 2 * kLanes) {
    T lanes[kLanes];
    for (int l = 0; l < kLanes; ++l) lanes[l] = x[l];
    for (i = kLanes; n - i >= kLanes; i += kLanes)
      for (int l = 0; l < kLanes; ++l) lanes[l] = x[i + l] != x[i + l] ? x[i + l] : F::f(lanes[l], x[i + l]);
    for (int l = 0; l < kLanes; ++l)
      best = l == 0 ? lanes[0] : (lanes[l] != lanes[l] ? lanes[l] : F::f(best, lanes[l]));
  }
  for (; i < n; ++i) best = x[i * stride] != x[i * stride] ? x[i * stride] : F::f(best, x[i * stride]);
  return best;
}

// Columns c … c + W - 1: their sums stay in registers for kRun rows.
template <int W, class T>
void columns_sum(const T* x, int64_t rows, int64_t ld, double* acc) {
  for (int64_t r0 = 0; r0 < rows; r0 += kRun) {
    const int64_t r1 = r0 + kRun < rows ? r0 + kRun : rows;
    T lanes[W] = {};
    for (int64_t r = r0; r < r1; ++r)
      for (int c = 0; c < W; ++c) lanes[c] += x[r * ld + c];
    for (int c = 0; c < W; ++c) acc[c] += static_cast<double>(lanes[c]);
  }
}

template <class T>
void column_sum(const T* x, int64_t rows, int64_t columns, int64_t ld, double* acc) {
  for_widths<64, 16>(columns,
                     [&](int64_t c, auto width) { columns_sum<decltype(width)::value>(x + c, rows, ld, acc + c); });
}

template <class T>
constexpr ReduceTable<T> kTable = {sum<T>, sum_squares<T>, extreme<Maximum, T>, extreme<Minimum, T>, column_sum<T>};

}  // namespace

const ReduceTable<float>& reduce_table(float) { return kTable<float>; }
const ReduceTable<double>& reduce_table(double) { return kTable<double>; }

}  // namespace tacit::cpu::TACIT_ISA
