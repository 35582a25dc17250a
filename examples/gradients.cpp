// Gradients: leaves, backward, stop-gradient, and an op of your own with its gradient check.
#include <iostream>

#include "tacit.h"

using namespace tacit;

// An op is its value and one formula per input. Formulas see Tensors, so they cannot extend the graph by accident.
Variable cube(const Variable& x) {
  const Tensor v = x.value();
  return record("cube", v * v * v, {{x, [v](const Tensor& dy) { return dy * (v * v * 3.0); }}});
}

int main() {
  const Variable w = Variable::leaf(Tensor::from(std::vector<float>{1, 2, 3}, {3}));
  const Variable loss = sum(cube(w) * w.detach());  // detach(): w enters here as a constant
  loss.backward();
  std::cout << "value " << loss.item() << ", gradient " << w.grad() << '\n';  // 3 w^2 * w

  const std::string fault =
      gradcheck([](const std::vector<Variable>& in) { return cube(in[0]); }, {Tensor::uniform({2, 3}, 0, 1, f64)});
  std::cout << (fault.empty() ? "the gradient of cube is right" : fault) << '\n';
  return fault.empty() ? 0 : 1;
}
