#include "autograd/gradcheck.h"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <utility>

#include "tensor/random.h"

namespace tacit {

namespace {

using Function = std::function<Variable(const std::vector<Variable>&)>;

// <f(inputs), cotangent>, summed on the host so that the check does not rest on the ops it checks.
double value_of(const Function& f, const std::vector<Tensor>& inputs, const std::vector<double>& cotangent) {
  const NoGrad off;
  const std::vector<double> y = f(std::vector<Variable>(inputs.begin(), inputs.end())).value().to_vector<double>();
  TACIT_CHECK(y.size() == cotangent.size(), "[gradcheck] the function's shape changes with its input's values");
  double sum = 0;
  for (size_t i = 0; i < y.size(); ++i) sum += y[i] * cotangent[i];
  return sum;
}

// d <f, cotangent> / d inputs[which], entry by entry.
std::vector<double> central_differences(const Function& f, std::vector<Tensor> inputs, size_t which,
                                        const std::vector<double>& cotangent, double step) {
  const Tensor original = inputs[which];
  std::vector<double> values = original.to_vector<double>(), slopes(values.size());
  const auto at = [&](size_t entry, double x) {
    const double before = std::exchange(values[entry], x);
    inputs[which] = Tensor::from(values, original.shape(), original.device());
    values[entry] = before;
    return value_of(f, inputs, cotangent);
  };
  for (size_t i = 0; i < values.size(); ++i) {
    const double above = values[i] + step, below = values[i] - step;
    slopes[i] = (at(i, above) - at(i, below)) / (above - below);
  }
  return slopes;
}

std::string compare(const std::vector<double>& got, const std::vector<double>& expected, size_t input,
                    const GradcheckOptions& options) {
  double largest = 0, worst = -1;
  size_t at = 0;
  for (const double e : expected) largest = std::max(largest, std::abs(e));
  for (size_t i = 0; i < got.size(); ++i) {
    const double error = std::abs(got[i] - expected[i]);
    if (error <= worst) continue;
    worst = error;
    at = i;
    if (std::isnan(error)) break;
  }
  if (worst <= options.absolute + options.relative * largest) return {};
  std::ostringstream text;
  text.precision(12);
  text << "input " << input << ", entry " << at << ": backward gives " << got[at] << ", central differences "
       << expected[at];
  return text.str();
}

}  // namespace

std::string gradcheck(const Function& f, const std::vector<Tensor>& inputs, const GradcheckOptions& options) {
  std::vector<Variable> variables;
  for (const Tensor& x : inputs) variables.push_back(x.dtype() == f64 ? Variable::leaf(x) : Variable(x));
  const Variable y = f(variables);
  TACIT_CHECK(y.dtype() == f64, "[gradcheck] the function's result is ", y.dtype(), "; give it f64 inputs");
  if (!y.requires_grad()) return "the result leads back to none of the inputs";

  std::vector<double> cotangent(static_cast<size_t>(y.value().numel()));
  Random random(options.seed, random_stream("gradcheck"));
  for (double& c : cotangent) c = random.normal();
  y.backward(Tensor::from(cotangent, y.shape(), y.value().device()));

  std::string worst;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!variables[i].requires_grad()) continue;
    const Tensor grad = variables[i].grad();
    const std::vector<double> got =
        grad.defined() ? grad.to_vector<double>() : std::vector<double>(static_cast<size_t>(inputs[i].numel()));
    const std::vector<double> expected = central_differences(f, inputs, i, cotangent, options.step);
    const std::string problem = compare(got, expected, i, options);
    if (!problem.empty()) worst += (worst.empty() ? "" : "; ") + problem;
  }
  return worst;
}

}  // namespace tacit
