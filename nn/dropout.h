// Dropout and DropPath, whose masks are functions of (seed, the module's path, step), so that evaluation, a resume or
// another number of threads cannot shift them.
// The rule: call set_dropout_step(model, seed, step) before each training step. Within a step every call of one module
// draws the same mask.
#pragma once

#include "nn/module.h"

namespace tacit::nn {

/// What Dropout and DropPath share: the probability, and where training stands.
class RandomMask : public Module {
 public:
  void visit(Visitor&) override {}

 protected:
  RandomMask(const char* name, double p);
  /// False when nothing is dropped. Throws Error in training mode before the first set_dropout_step().
  bool active() const;

  double p_;
  uint64_t seed_ = 0, stream_ = 0;
  int64_t step_ = -1;  // none was set

 private:
  friend class DropoutVisitor;
  const char* name_;
};

/// Srivastava et al. 2014: in training each element is 0 with probability p, else divided by 1 - p.
class Dropout : public RandomMask {
 public:
  explicit Dropout(double p) : RandomMask("Dropout", p) {}
  Variable operator()(const Variable& x) const;
};

/// Stochastic depth (Huang et al. 2016), as in timm: in training each sample's branch is 0 with probability p, else
/// divided by 1 - p.
class DropPath : public RandomMask {
 public:
  explicit DropPath(double p) : RandomMask("DropPath", p) {}
  Variable operator()(const Variable& x) const;
};

/// Tells every Dropout and DropPath in the model where training stands; step is in [0, 2^32).
void set_dropout_step(Module& model, uint64_t seed, int64_t step);

}  // namespace tacit::nn
