// gradcheck: does backward() give what central differences give? For the project's tests and for users' own ops.
// The rule: the function must give the same result for the same inputs each time it is called.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "autograd/variable.h"

namespace tacit {

/// How derivatives are compared.
struct GradcheckOptions {
  double step = 1e-6;      ///< central difference step
  double relative = 1e-6;  ///< allowed error relative to the largest gradient entry of that input
  double absolute = 1e-8;  ///< allowed error besides
  uint64_t seed = 1;       ///< of the random cotangent
};
/// Differentiates <f(inputs), random cotangent> with respect to every f64 tensor among the inputs, entry by entry.
/// backward() runs on the inputs as they are (strided or broadcast ones too), the differences on dense copies of the
/// input in question. Returns "" or, for each input that disagrees, its worst entry with both values. Tensors of other
/// dtypes are handed to f as constants. Throws Error when f's result is not f64.
std::string gradcheck(const std::function<Variable(const std::vector<Variable>&)>& f, const std::vector<Tensor>& inputs,
                      const GradcheckOptions& = {});

}  // namespace tacit
