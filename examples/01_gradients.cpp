// A gradient by hand: one neuron, the chain rule written out, and the same numbers from backward() and from finite
// differences. Then gradient descent, and an op of your own with its gradient check.
//   example_01_gradients
#include <cmath>
#include <cstdio>

#include "tacit.h"

using namespace tacit;

namespace {

constexpr double kX = 2, kTarget = 0.25;  // the one example the neuron learns

struct Slopes {
  double loss, dw, db;
};

/// loss = (tanh(w x + b) - t)², forwards line by line, then backwards through the same lines.
Slopes by_hand(double w, double b) {
  const double u = w * kX + b;
  const double y = std::tanh(u);
  const double e = y - kTarget;
  const double loss = e * e;

  const double de = 2 * e;             // d loss / d e
  const double dy = de;                // e = y - t
  const double du = dy * (1 - y * y);  // y = tanh(u)
  return {loss, du * kX, du};          // u = w x + b
}

/// The same by tacit: write the value, and the way back is recorded.
Variable loss_of(const Variable& w, const Variable& b) { return square(tanh(w * kX + b) - kTarget); }

Slopes by_backward(double w_value, double b_value) {
  const Variable w = Variable::leaf(Tensor::scalar(w_value, f64)), b = Variable::leaf(Tensor::scalar(b_value, f64));
  const Variable loss = loss_of(w, b);
  loss.backward();
  return {loss.item(), w.grad().item(), b.grad().item()};
}

/// The same without any calculus: move a little each way and look.
Slopes by_differences(double w, double b) {
  constexpr double h = 1e-5;
  const auto value = [](double a, double c) { return by_hand(a, c).loss; };
  return {value(w, b), (value(w + h, b) - value(w - h, b)) / (2 * h), (value(w, b + h) - value(w, b - h)) / (2 * h)};
}

void print(const char* how, const Slopes& s) { std::printf("%-20s %10.6f %10.6f %10.6f\n", how, s.loss, s.dw, s.db); }

/// An op of your own: its value, and one formula from dy = d loss / d value to the gradient of each input.
Variable cube(const Variable& x) {
  const Tensor v = x.value();
  return record("cube", v * v * v, {{x, [v](const Tensor& dy) { return dy * (v * v * 3.0); }}});
}

Variable wrong_cube(const Variable& x) {
  const Tensor v = x.value();
  return record("wrong_cube", v * v * v, {{x, [v](const Tensor& dy) { return dy * (v * v * 2.0); }}});
}

}  // namespace

int main() {
  std::printf("%-20s %10s %10s %10s\n", "", "loss", "d/dw", "d/db");
  print("by hand", by_hand(0.5, -0.2));
  print("backward()", by_backward(0.5, -0.2));
  print("finite differences", by_differences(0.5, -0.2));

  std::printf("\ndescending: w -= 0.1 d/dw, b -= 0.1 d/db\n");
  double w = 0.5, b = -0.2;
  for (int step = 0; step <= 20; ++step) {
    const Slopes s = by_backward(w, b);
    if (step % 4 == 0) std::printf("step %2d  w %7.4f  b %7.4f  loss %.6f\n", step, w, b, s.loss);
    w -= 0.1 * s.dw;
    b -= 0.1 * s.db;
  }

  // detach(): x enters here as a constant, so the gradient is 3 x² · x and not that of x⁴.
  const Variable x = Variable::leaf(Tensor::from(std::vector<double>{1, 2, 3}, {3}));
  const Variable loss = sum(cube(x) * x.detach());
  loss.backward();
  std::printf("\nsum of cube(x) * detached x at 1, 2, 3: %g; gradient", loss.item());
  for (const double g : x.grad().to_vector<double>()) std::printf(" %g", g);

  const auto check = [](Variable (*op)(const Variable&)) {
    return gradcheck([op](const std::vector<Variable>& in) { return op(in[0]); }, {Tensor::uniform({4}, 0, 1, f64)});
  };
  const std::string fault = check(cube), found = check(wrong_cube);
  std::printf("\ngradcheck of cube:       %s\n", fault.empty() ? "right" : fault.c_str());
  std::printf("gradcheck of wrong_cube: %s\n", found.empty() ? "right" : found.c_str());
  return fault.empty() && !found.empty() ? 0 : 1;
}
