#include "nn/linear.h"

#include <cmath>

#include "autograd/ops.h"

namespace tacit::nn {

Linear::Linear(int64_t in, int64_t out, LinearOptions options) : init_(options.init), zero_bias_(options.zero_bias) {
  TACIT_CHECK(in > 0 && out > 0, "[Linear] sizes must be positive, got in ", in, ", out ", out);
  weight = Parameter(Tensor::zeros({out, in}));
  if (options.bias) bias = Parameter(Tensor::zeros({out}));
  born(*this);
}

Variable Linear::operator()(const Variable& x) const { return linear(x, weight, bias); }

void Linear::visit(Visitor& v) {
  v("weight", weight);
  v("bias", bias);
}

void Linear::reset(const Initializer& init) {
  init("weight", weight, init_);
  init("bias", bias, zero_bias_ ? Init::constant(0) : default_bias_init(weight));
}

Init default_bias_init(const Parameter& weight) {
  const double bound = 1 / std::sqrt(static_cast<double>(fans_of(weight.shape(), weight.layout()).in));
  return Init::uniform(-bound, bound);
}

}  // namespace tacit::nn
