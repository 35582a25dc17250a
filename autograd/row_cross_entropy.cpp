#include "autograd/row_cross_entropy.h"

#include <algorithm>

#include "autograd/ops.h"

namespace tacit {

RowCrossEntropy row_cross_entropy(const std::vector<int64_t>& labels, int64_t columns,
                                  const std::function<Tensor(int64_t lo, int64_t hi)>& logits,
                                  const std::function<void(int64_t lo, int64_t hi, const Tensor& d)>& gradient) {
  const auto rows = static_cast<int64_t>(labels.size());
  TACIT_CHECK(rows > 0 && columns > 0, "[row_cross_entropy] needs rows and columns, got ", rows, " and ", columns);
  const int64_t block = std::clamp<int64_t>(kLogitsAtATime / columns, 1, rows);
  RowCrossEntropy result;
  for (int64_t lo = 0; lo < rows; lo += block) {
    const int64_t hi = std::min(rows, lo + block);
    const double share = static_cast<double>(hi - lo) / static_cast<double>(rows);
    const Tensor values = logits(lo, hi);
    const Tensor right =
        Tensor::from(std::vector<int64_t>(labels.begin() + lo, labels.begin() + hi), {hi - lo}, values.device());
    const Variable x = gradient ? Variable::leaf(values) : Variable(values);
    const Variable loss = cross_entropy(x, right) * share;
    const Tensor top1 = mean(equal(argmax(values), right).to(f32)) * share;
    result.loss = lo == 0 ? loss.value() : result.loss + loss.value();
    result.top1 = lo == 0 ? top1 : result.top1 + top1;
    if (!gradient) continue;
    loss.backward();
    gradient(lo, hi, x.grad());
  }
  return result;
}

}  // namespace tacit
