#include "nn/dropout.h"

#include "autograd/ops.h"
#include "tensor/random.h"

namespace tacit::nn {

Dropout::Dropout(double p) : p_(p) { TACIT_CHECK(p >= 0 && p < 1, "[Dropout] p = ", p, " is not in [0, 1)"); }

Variable Dropout::operator()(const Variable& x) const {
  if (!training() || p_ == 0) return x;
  TACIT_CHECK(step_ >= 0, "[Dropout] no step is set; call set_dropout_step(model, seed, step) before each step");
  return dropout(x, p_, seed_, stream_, step_);
}

class DropoutVisitor final : public Visitor {
 public:
  DropoutVisitor(uint64_t seed, int64_t step) : seed_(seed), step_(step) {}

 protected:
  void module(const std::string& path, Module& m) override {
    auto* dropout = dynamic_cast<Dropout*>(&m);
    if (!dropout) return;
    dropout->seed_ = seed_;
    dropout->stream_ = random_stream("dropout " + path);
    dropout->step_ = step_;
  }

 private:
  uint64_t seed_;
  int64_t step_;
};

void set_dropout_step(Module& model, uint64_t seed, int64_t step) {
  TACIT_CHECK(step >= 0 && step <= int64_t{UINT32_MAX}, "[Dropout] step ", step, " is not in [0, 2^32)");
  DropoutVisitor visitor(seed, step);
  visitor("", model);
}

}  // namespace tacit::nn
