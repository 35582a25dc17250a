#include "autograd/checkpoint.h"

#include "tensor/precision.h"

namespace tacit {

Variable checkpoint(const VariableFunction& f, const Variable& x, const VariableFunction& again) {
  if (!grad_enabled() || !x.requires_grad()) return f(x);
  const auto value_of = [&] {
    const NoGrad no_graph;
    return f(x.detach()).value();
  };
  const Precision allowed = precision();  // what is computed again must have the first pass's dtypes, and its numbers
  return record("checkpoint", value_of(), {{x, [=, g = again ? again : f, at = x.value()](const Tensor& dy) {
                                              const PrecisionScope scope(allowed);
                                              const Variable input = Variable::leaf(at);
                                              g(input).backward(dy);
                                              return input.grad();
                                            }}});
}

}  // namespace tacit
