// LateNumbers: values of a device that the host reads when it has other work to do first.
// The rule: they are what the tensors held when this was made, and reading them waits for nothing that was begun later.
#pragma once

#include <memory>
#include <vector>

#include "tensor/tensor.h"

namespace tacit {

class LateNumbers {
 public:
  LateNumbers() = default;  ///< of nothing
  /// Of tensors of one element each, on one device: a few hundred at most.
  explicit LateNumbers(const std::vector<Tensor>&);
  /// Waits for them.
  std::vector<double> get() const;

 private:
  std::vector<DType> dtypes_;
  std::unique_ptr<Download> download_;
};

}  // namespace tacit
