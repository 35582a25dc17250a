#include "nn/conv.h"

#include "autograd/ops.h"
#include "nn/linear.h"

namespace tacit::nn {

Conv2d::Conv2d(int64_t in, int64_t out, int64_t kernel, ConvOptions options)
    : geometry_{options.stride, options.padding, options.dilation, options.groups}, init_(options.init) {
  TACIT_CHECK(in > 0 && out > 0 && kernel > 0, "[Conv2d] sizes must be positive, got in ", in, ", out ", out,
              ", kernel ", kernel);
  TACIT_CHECK(options.groups > 0 && in % options.groups == 0 && out % options.groups == 0, "[Conv2d] ", in, " and ",
              out, " channels cannot be cut into ", options.groups, " groups");
  weight = Parameter(Tensor::zeros({out, kernel, kernel, in / options.groups}), Layout::ConvOHWI);
  if (options.bias) bias = Parameter(Tensor::zeros({out}));
  born(*this);
}

Variable Conv2d::operator()(const Variable& x) const {
  const Variable y = conv2d(x, weight, geometry_);
  return bias.defined() ? add_bias(y, bias) : y;
}

void Conv2d::visit(Visitor& v) {
  v("weight", weight);
  v("bias", bias);
}

void Conv2d::reset(const Initializer& init) {
  init("weight", weight, init_);
  init("bias", bias, default_bias_init(weight));
}

}  // namespace tacit::nn
