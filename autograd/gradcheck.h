// gradcheck: does backward() give what central differences give? For the project's tests and for users' own ops.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "autograd/variable.h"

namespace tacit {

struct GradcheckOptions {
  double step = 1e-6;               ///< central difference step
  double relative = 1e-6;           ///< allowed error relative to the largest gradient entry of that input
  double absolute = 1e-8;
  uint64_t seed = 1;                ///< of the random cotangent
};
/// Differentiates <f(inputs), random cotangent> with respect to every f64 leaf among the inputs, entry by entry.
/// Returns "" or a description of the worst disagreement (input, entry, both values). Integer inputs are left alone.
std::string gradcheck(const std::function<Variable(const std::vector<Variable>&)>& f, const std::vector<Tensor>& inputs,
                      const GradcheckOptions& = {});

}  // namespace tacit
