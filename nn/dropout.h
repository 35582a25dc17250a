// Dropout whose mask is a function of (seed, the module's path, step), so that evaluation, a resume or another number
// of threads cannot shift it.
// The rule: call set_dropout_step(model, seed, step) before each training step. Within a step every call of one Dropout
// module draws the same mask.
#pragma once

#include "nn/module.h"

namespace tacit::nn {

/// Srivastava et al. 2014: in training each element is 0 with probability p, else divided by 1 - p.
class Dropout : public Module {
 public:
  explicit Dropout(double p);
  /// Throws Error in training mode before the first set_dropout_step().
  Variable operator()(const Variable& x) const;
  void visit(Visitor&) override {}

 private:
  friend class DropoutVisitor;
  double p_;
  uint64_t seed_ = 0, stream_ = 0;
  int64_t step_ = -1;  // none was set
};

/// Tells every Dropout in the model where training stands; step is in [0, 2^32).
void set_dropout_step(Module& model, uint64_t seed, int64_t step);

}  // namespace tacit::nn
