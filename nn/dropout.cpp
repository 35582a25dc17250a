#include "nn/dropout.h"

#include "autograd/ops.h"
#include "tensor/random.h"

namespace tacit::nn {

RandomMask::RandomMask(const char* name, double p) : p_(p), name_(name) {
  TACIT_CHECK(p >= 0 && p < 1, "[", name, "] p = ", p, " is not in [0, 1)");
}

bool RandomMask::active() const {
  if (!training() || p_ == 0) return false;
  TACIT_CHECK(step_ >= 0, "[", name_, "] no step is set; call set_dropout_step(model, seed, step) before each step");
  return true;
}

Variable Dropout::operator()(const Variable& x) const { return active() ? dropout(x, p_, seed_, stream_, step_) : x; }
Variable DropPath::operator()(const Variable& x) const {
  return active() ? drop_path(x, p_, seed_, stream_, step_) : x;
}

class DropoutVisitor final : public Visitor {
 public:
  DropoutVisitor(uint64_t seed, int64_t step) : seed_(seed), step_(step) {}

 protected:
  void module(const std::string& path, Module& m) override {
    auto* mask = dynamic_cast<RandomMask*>(&m);
    if (!mask) return;
    mask->seed_ = seed_;
    mask->stream_ = random_stream("dropout " + path);
    mask->step_ = step_;
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
