// Softmax and cross-entropy: rows in parallel.
#include "backends/cpu/kernels/softmax.h"

#include "backends/cpu/backend.h"
#include "backends/cpu/loops.h"

namespace tacit::cpu {

namespace {

template <class F>
void for_each_row(const Rows& rows, F&& f) {
  parallel_ranges(rows.count, std::max<int64_t>(1, kPiece / 4 / std::max<int64_t>(1, rows.size)),
                  [&](int64_t begin, int64_t end) {
                    for (int64_t r = begin; r < end; ++r) f(r, r * rows.size);
                  });
}

}  // namespace

void CpuBackend::softmax(const View& y, const View& x, bool log) {
  const Rows rows(x.shape);
  visit_floating("softmax", x.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_each_row(
        rows, [&](int64_t, int64_t at) { softmax_table(zero).row(y.ptr<T>() + at, x.ptr<T>() + at, rows.size, log); });
  });
}

void CpuBackend::softmax_grad(const View& dx, const View& dy, const View& y, bool log) {
  const Rows rows(y.shape);
  visit_floating("softmax_grad", y.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_each_row(rows, [&](int64_t, int64_t at) {
      softmax_table(zero).row_grad(dx.ptr<T>() + at, dy.ptr<T>() + at, y.ptr<T>() + at, rows.size, log);
    });
  });
}

void CpuBackend::cross_entropy(const View& loss, const View& log_sum, const View& logits, const View& labels,
                               double smoothing) {
  const Rows rows(logits.shape);
  visit_floating("cross_entropy", logits.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_each_row(rows, [&](int64_t r, int64_t at) {
      softmax_table(zero).cross_entropy(loss.ptr<T>() + r, log_sum.ptr<T>() + r, logits.ptr<T>() + at, rows.size,
                                        labels.ptr<int64_t>()[r], smoothing);
    });
  });
}

void CpuBackend::cross_entropy_grad(const View& dlogits, const View& dloss, const View& logits, const View& log_sum,
                                    const View& labels, double smoothing) {
  const Rows rows(logits.shape);
  visit_floating("cross_entropy_grad", logits.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_each_row(rows, [&](int64_t r, int64_t at) {
      softmax_table(zero).cross_entropy_grad(dlogits.ptr<T>() + at, logits.ptr<T>() + at, rows.size, dloss.ptr<T>()[r],
                                             log_sum.ptr<T>()[r], labels.ptr<int64_t>()[r], smoothing);
    });
  });
}

}  // namespace tacit::cpu
