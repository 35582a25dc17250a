// Running a row of the op table: its inputs, its gradients, and the comparison of two results.
#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>

#include "op_table.h"
#include "tensor/random.h"

namespace tacit::testing {

namespace {

template <class T>
Tensor typed(const std::vector<double>& values, const Shape& shape, Device device) {
  return Tensor::from(std::vector<T>(values.begin(), values.end()), shape, device);
}

// Floating values are rounded to f32 first, so that every dtype sees the same numbers.
std::vector<double> draw(const OpInput& input, const Shape& shape, int64_t indices, Random& random) {
  const int64_t n = shape.numel();
  std::vector<double> values;
  for (int64_t i = 0; i < n; ++i) {
    switch (input.draw) {
      case Draw::Uniform:
        values.push_back(static_cast<float>(random.uniform(input.low, input.high)));
        break;
      case Draw::Distinct:
        values.push_back(static_cast<float>(input.low + (input.high - input.low) * (static_cast<double>(i) + 0.5) /
                                                            static_cast<double>(n)));
        break;
      case Draw::Index:
        values.push_back(static_cast<double>(random.below(static_cast<uint64_t>(indices))));
        break;
      case Draw::Mask:
        values.push_back(random.chance(0.5) ? 1 : 0);
        break;
    }
  }
  if (input.draw == Draw::Distinct) shuffle(values, random);
  return values;
}

double largest(const std::vector<double>& values) {
  double m = 0;
  for (const double v : values) m = std::max(m, std::abs(v));
  return m;
}

int64_t terms(const OpRow& row, const OpResult& result) {
  std::vector<Shape> shapes;
  int64_t smallest = std::max<int64_t>(result.value.numel(), 1), biggest = smallest;
  for (const Tensor& g : result.gradients) {
    shapes.push_back(g.defined() ? g.shape() : Shape{});
    if (!g.defined() || g.numel() == 0) continue;
    smallest = std::min(smallest, g.numel());
    biggest = std::max(biggest, g.numel());
  }
  return row.summed ? row.summed(shapes) : biggest / smallest;
}

}  // namespace

std::vector<Shape> OpRow::shapes() const {
  std::vector<Shape> s;
  for (const OpInput& input : inputs) s.push_back(input.shape);
  return s;
}

Tensor with_layout(const Tensor& x, Layout layout) {
  if (layout == Layout::Contiguous || x.rank() == 0) return x;
  if (layout == Layout::Broadcast) return x.slice(0, 0, 1).broadcast_to(x.shape());
  const Tensor reversed = x.transpose(0, -1);
  Shape doubled = reversed.shape();
  doubled[-1] *= 2;
  const double gap = is_floating(x.dtype()) ? std::numeric_limits<double>::quiet_NaN() : 0;
  Tensor strided = Tensor::full(doubled, gap, x.dtype(), x.device()).slice(-1, 0, doubled[-1], 2);
  strided.copy_(reversed);
  return strided.transpose(0, -1);
}

std::vector<Tensor> make_inputs(const OpRow& row, const std::vector<Shape>& shapes, DType dtype, Device device,
                                Layout layout, int only) {
  std::vector<Tensor> tensors;
  for (size_t i = 0; i < row.inputs.size(); ++i) {
    const OpInput& input = row.inputs[i];
    Random random(1, random_stream("op_table " + row.label(), i));
    const std::vector<double> values = draw(input, shapes[i], shapes[0][input.dim], random);
    Tensor t;
    if (input.draw == Draw::Index)
      t = typed<int64_t>(values, shapes[i], device);
    else if (input.draw == Draw::Mask)
      t = typed<uint8_t>(values, shapes[i], device);
    else if (dtype == f64)
      t = typed<double>(values, shapes[i], device);
    else
      t = typed<float>(values, shapes[i], device);
    tensors.push_back(only < 0 || only == static_cast<int>(i) ? with_layout(t, layout) : t);
  }
  return tensors;
}

Tensor cotangent(const Tensor& y) {
  Random random(1, random_stream("op_table cotangent"));
  std::vector<double> values;
  for (int64_t i = 0; i < y.numel(); ++i) values.push_back(static_cast<float>(random.normal()));
  return y.dtype() == f64 ? typed<double>(values, y.shape(), y.device()) : typed<float>(values, y.shape(), y.device());
}

OpResult run(const OpRow& row, const std::vector<Tensor>& inputs, const Tensor& dy) {
  std::vector<Variable> variables;
  for (size_t i = 0; i < inputs.size(); ++i)
    variables.push_back(row.inputs[i].differentiable ? Variable::leaf(inputs[i]) : Variable(inputs[i]));
  const Variable y = row.f(variables);
  OpResult result{y.value(), {}};
  y.backward(dy.defined() ? dy : cotangent(y.value()));
  for (const Variable& v : variables) result.gradients.push_back(v.requires_grad() ? v.grad() : Tensor());
  return result;
}

std::string compare(const OpRow& row, const OpResult& got, const OpResult& expected) {
  const auto k = static_cast<double>(terms(row, expected));
  std::ostringstream text;
  const auto check = [&](const std::string& what, const Tensor& a, const Tensor& b) {
    if (a.defined() != b.defined()) {
      text << what << " is missing on one side; ";
      return;
    }
    if (!a.defined()) return;
    if (a.shape() != b.shape()) {
      text << what << " has shape " << a.shape() << ", expected " << b.shape() << "; ";
      return;
    }
    const std::vector<double> x = a.to(f64).to_vector<double>(), y = b.to(f64).to_vector<double>();
    const double allowed = row.tolerance * 8 * std::numeric_limits<float>::epsilon() * std::sqrt(k) * largest(y);
    double worst = 0;
    size_t at = 0;
    for (size_t i = 0; i < x.size() && !std::isnan(worst); ++i)
      if (const double error = std::abs(x[i] - y[i]); !(error <= worst)) worst = error, at = i;
    if (!(worst <= allowed))
      text << what << "[" << at << "] is " << x[at] << ", expected " << y[at] << ", off by " << worst << ", allowed "
           << allowed << "; ";
  };
  check("value", got.value, expected.value);
  for (size_t i = 0; i < got.gradients.size(); ++i)
    check("gradient " + std::to_string(i), got.gradients[i], expected.gradients[i]);
  return text.str();
}

}  // namespace tacit::testing
