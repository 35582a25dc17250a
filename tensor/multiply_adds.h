// How much arithmetic a computation is: its multiply-adds, counted from shapes as the ops come by.
// The rule: products, convolutions and attention count, each as if computed directly, whatever algorithm a backend
// chooses; element-wise work, norms, pooling and softmax do not, as in what torchvision and fvcore publish.
#pragma once

#include <cstdint>

namespace tacit {

/// Counts those of every op that this thread calls while it lives, forward and backward. Where several live, each
/// counts.
class MultiplyAdds {
 public:
  MultiplyAdds();
  ~MultiplyAdds();
  MultiplyAdds(const MultiplyAdds&) = delete;
  MultiplyAdds& operator=(const MultiplyAdds&) = delete;

  int64_t count() const { return count_; }
  /// For ops: `outputs` numbers, each a sum of `summed` products.
  static void add(int64_t outputs, int64_t summed);

 private:
  int64_t count_ = 0;
  MultiplyAdds* outer_;
};

}  // namespace tacit
