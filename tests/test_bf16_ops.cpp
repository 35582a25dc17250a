// PrecisionScope(BF16), op by op: the default device (see main.cpp) against the reference's f64 at the same numbers.
// Inputs hold numbers that bf16 has, so that whatever differs was rounded on the way. Where the device does not compute
// with bf16 (the CPU), the scope must change nothing, and bf16 activations must be an error.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <set>

#include "autograd/checkpoint.h"
#include "autograd/ops.h"
#include "op_table.h"
#include "tensor/precision.h"

using namespace tacit;
using namespace tacit::testing;

namespace {

bool device_has_bf16() { return default_device().backend().computes_bf16(); }

/// Which inputs of an op are parameters or statistics: f32 beside bf16.
const std::map<std::string, std::set<size_t>> kParameters = {{"add_bias", {1}},
                                                             {"linear", {1, 2}},
                                                             {"feed_forward", {1, 2, 3, 4}},
                                                             {"conv2d", {1}},
                                                             {"batch_norm", {1, 2, 3, 4}},
                                                             {"batch_norm_relu", {1, 2, 4, 5}},
                                                             {"conv_bn_act", {1, 2, 3}},
                                                             {"layer_norm", {1, 2}}};
/// Ops that f32 comes out of, whatever went in.
const std::set<std::string> kWide = {"softmax",  "log_softmax",  "cross_entropy", "nt_xent",
                                     "info_nce", "l2_normalize", "var",           "widen"};
/// Ops that bf16 comes out of, whatever went in.
const std::set<std::string> kProducts = {"matmul",      "linear",    "feed_forward",  "conv2d",
                                         "conv_bn_act", "attention", "self_attention"};

/// How many numbers on the way to a value or a gradient are rounded to bf16, besides that itself.
double roundings(const OpRow& row) {
  // Formulas of y, of several element-wise kernels; gelu's input, its result and its derivative; attention's y; what a
  // convolution gives to a batch norm, which divides it by its deviation.
  static const std::map<std::string, double> several = {
      {"exp", 1},        {"sqrt", 1},    {"rsqrt", 3},     {"reciprocal", 2},   {"tanh", 2},      {"sigmoid", 2},
      {"pow", 3},        {"div", 2},     {"operator/", 3}, {"operator*", 1},    {"operator+", 1}, {"operator-", 2},
      {"mean", 1},       {"dropout", 1}, {"drop_path", 1}, {"feed_forward", 3}, {"attention", 1}, {"self_attention", 1},
      {"conv_bn_act", 3}};
  const auto found = several.find(row.name);
  return found == several.end() ? 0 : found->second;
}

std::vector<Tensor> rounded(std::vector<Tensor> inputs) {
  for (Tensor& t : inputs)
    if (is_floating(t.dtype())) t = t.to(bf16).to(t.dtype());
  return inputs;
}

// "" when every number of a is within `allowed` of b's.
std::string differs(const std::string& what, const Tensor& a, const Tensor& b, double allowed) {
  if (a.shape() != b.shape()) return what + " has another shape; ";
  const double error = max_abs_difference(a, b);
  if (error <= allowed) return {};
  return what + " is off by " + std::to_string(error) + ", allowed " + std::to_string(allowed) + "; ";
}

/// Where cuDNN may be, which rounds dw once. The emulated device has none.
bool on_a_gpu() { return default_device().name().rfind("cuda", 0) == 0; }

double largest(const Tensor& t) { return max_abs_difference(t, t * 0.0); }

/// Runs a row in the scope with its activations in `activations`, and compares with the reference in f64.
std::string compare_in_scope(const OpRow& row, const std::vector<Shape>& shapes, DType activations) {
  const Device device = default_device(), reference("reference");
  std::vector<Tensor> exact, given;
  {
    const DeviceScope scope(reference);
    exact = rounded(make_inputs(row, shapes, f64, reference));
  }
  const auto is_parameter = [&](size_t i) {
    const auto found = kParameters.find(row.name);
    return found != kParameters.end() && found->second.count(i) == 1;
  };
  for (size_t i = 0; i < exact.size(); ++i) {
    const Tensor here = exact[i].to(device);
    // What is added to a product's result has its dtype.
    const bool residual = row.name == "conv_bn_act" && i == 4;
    const DType dtype = is_parameter(i) ? f32 : residual ? bf16 : activations;
    given.push_back(is_floating(here.dtype()) ? here.to(dtype) : here);
  }
  OpResult expected;
  Tensor dy;
  {
    const DeviceScope scope(reference);
    dy = cotangent(run(row, exact).value).to(bf16).to(f64);
    expected = run(row, exact, dy);
  }
  const PrecisionScope scope(Precision::BF16);
  const bool wide = kWide.count(row.name) == 1;
  const DType dtype = wide ? f32 : kProducts.count(row.name) == 1 ? bf16 : activations;
  const OpResult got = run(row, given, dy.to(device).to(dtype));
  std::string problem;
  if (got.value.dtype() != dtype) problem += std::string("the value is ") + name_of(got.value.dtype()) + "; ";
  // A number that is rounded to bf16, of 8 bits, is off by at most 2^-8 of itself; sums are f32.
  const auto differs_here = [&](const std::string& what, const Tensor& a, const Tensor& b, bool is_rounded) {
    return differs(what, a, b, (0x1p-8 * (roundings(row) + is_rounded) + 1e-5) * largest(b));
  };
  problem += differs_here("value", got.value, expected.value, dtype == bf16);
  for (size_t i = 0; i < got.gradients.size(); ++i) {
    if (!got.gradients[i].defined()) continue;
    if (got.gradients[i].dtype() != given[i].dtype()) problem += "a gradient has not its input's dtype; ";
    const bool by_library = on_a_gpu() && i == 1 && (row.name == "conv2d" || row.name == "conv_bn_act");
    problem += differs_here("gradient " + std::to_string(i), got.gradients[i], expected.gradients[i],
                            !is_parameter(i) || by_library);
  }
  return problem;
}

/// `count` rows (1, …, 1).
Tensor ones(int64_t count, int64_t size, DType dtype) { return Tensor::ones({count, size}, dtype); }

bool all_equal(const Tensor& t, double value) {
  const std::vector<double> numbers = t.to(f64).to_vector<double>();
  return std::all_of(numbers.begin(), numbers.end(), [value](double x) { return x == value; });
}

}  // namespace

TEST_CASE("bf16: the op table, values and gradients; activations are bf16, parameters f32") {
  if (!device_has_bf16()) return;
  for (const OpRow& row : op_table()) {
    CAPTURE(row.label());
    CHECK(compare_in_scope(row, row.shapes(), bf16) == "");
  }
  CHECK(default_device().backend().fallbacks() == 0);
}

TEST_CASE("bf16: products, norms and pools at sizes of several tiles") {
  if (!device_has_bf16()) return;
  // Not conv_bn_act: where the rounding of a convolution's result changes a sign, relu lets another gradient through.
  std::set<std::string> names = {"matmul",     "linear",         "feed_forward", "conv2d",
                                 "attention",  "self_attention", "batch_norm",   "batch_norm_relu",
                                 "layer_norm", "max_pool2d",     "avg_pool2d"};
  for (const OpRow& row : op_table()) {
    if (names.erase(row.name) == 0) continue;  // the first row of each
    CAPTURE(row.label());
    CHECK(compare_in_scope(row, row.large, bf16) == "");
  }
  CHECK(names.empty());
  CHECK(default_device().backend().fallbacks() == 0);
}

TEST_CASE("bf16: products narrow f32 inputs, and give them f32 gradients") {
  if (!device_has_bf16()) return;
  for (const OpRow& row : op_table()) {
    if (kProducts.count(row.name) == 0) continue;
    CAPTURE(row.label());
    CHECK(compare_in_scope(row, row.shapes(), f32) == "");
  }
}

TEST_CASE("where a device does not compute with bf16, the scope changes nothing") {
  const Device device("cpu");
  const DeviceScope here(device);
  REQUIRE_FALSE(device.backend().computes_bf16());
  for (const OpRow& row : op_table()) {
    CAPTURE(row.label());
    const std::vector<Tensor> inputs = make_inputs(row, row.shapes(), f32, device);
    const OpResult expected = run(row, inputs);
    const PrecisionScope scope(Precision::BF16);
    const OpResult got = run(row, inputs);
    CHECK(got.value.dtype() == expected.value.dtype());
    CHECK(max_abs_difference(got.value, expected.value) == 0);
    for (size_t i = 0; i < got.gradients.size(); ++i)
      if (got.gradients[i].defined()) CHECK(max_abs_difference(got.gradients[i], expected.gradients[i]) == 0);
  }
  const Tensor narrow = Tensor::ones({2, 2}, bf16);
  CHECK_THROWS_WITH_AS(relu(narrow), "[unary] needs f32 or f64, got bf16; convert with to(f32)", Error);
  CHECK_THROWS_WITH_AS(2.0 - narrow, "[binary] cpu does not compute in bf16; convert with to(f32)", Error);
  CHECK_THROWS_AS(add_bias(narrow, Tensor::ones({2})), Error);
  CHECK_THROWS_AS(Tensor(narrow).add_(narrow), Error);
  CHECK_THROWS_AS(mean(narrow), Error);
  CHECK_THROWS_AS(matmul(narrow, narrow), Error);
  CHECK_THROWS_AS(global_avg_pool(Tensor::ones({1, 2, 2, 1}, bf16)), Error);
  CHECK_THROWS_AS(conv2d(Tensor::ones({1, 2, 2, 1}, bf16), Tensor::ones({1, 1, 1, 1}, bf16)), Error);
  CHECK_THROWS_AS(layer_norm(narrow, {}, {}), Error);
  CHECK_THROWS_AS(batch_norm(narrow, {}, {}, {}, true), Error);
}

TEST_CASE("bf16 and f32 do not mix, but for parameters and in products of a scope") {
  const Tensor narrow = Tensor::ones({4, 4}, bf16), wide = Tensor::ones({4, 4});
  CHECK_THROWS_AS(add(narrow, wide), Error);
  CHECK_THROWS_AS(matmul(narrow, wide), Error);
  CHECK_THROWS_AS(linear(narrow, wide), Error);
  CHECK_THROWS_AS(concatenate(std::vector<Tensor>{narrow, wide}, 0), Error);
  CHECK_THROWS_AS(add_bias(wide, narrow), Error);
  CHECK_THROWS_AS(reduce(ReduceOp::Sum, wide, {}, false, bf16), Error);
  CHECK_THROWS_AS(matmul(wide, wide, f64), Error);
  CHECK_THROWS_AS(cast(Variable(wide), i64), Error);
  CHECK_THROWS_AS(layer_norm(narrow, Tensor::ones({4}, bf16), {}), Error);
  CHECK_THROWS_AS(batch_norm(narrow, Tensor::ones({4}, bf16), {}, {}, true), Error);
  CHECK_THROWS_AS(batch_norm(wide, Tensor::ones({4}, f64), {}, {}, true), Error);
  if (!device_has_bf16()) return;
  CHECK(max_abs_difference(add_bias(narrow, wide).to(f32), wide * 2.0) == 0);
  const PrecisionScope scope(Precision::BF16);
  CHECK(all_equal(linear(narrow, wide).value(), 4));
  CHECK(linear(narrow.to(f64), wide.to(f64)).dtype() == f64);
  const PrecisionScope inner(Precision::F32);
  CHECK(linear(wide, wide).dtype() == f32);
  CHECK_THROWS_AS(linear(narrow, wide), Error);
}

// 1001 is not a bf16 number: the nearest is 1000; a sum that were rounded term by term would stop at 256. cuDNN rounds
// a convolution's sums once, when they are complete.
TEST_CASE("gradients of f32 parameters are summed and kept in f32 beside bf16 activations") {
  if (!device_has_bf16()) return;
  const int64_t n = 1001;
  const PrecisionScope scope(Precision::BF16);
  const auto gradient = [](const Variable& parameter, const Variable& y) {
    y.backward(Tensor::ones(y.shape(), y.dtype()));
    return parameter.grad();
  };
  const Variable w = Variable::leaf(Tensor::ones({3, 2})), b = Variable::leaf(Tensor::ones({3}));
  const Variable y = linear(ones(n, 2, bf16), w, b);
  CHECK(y.dtype() == bf16);
  CHECK(all_equal(gradient(w, y), n));
  CHECK(all_equal(b.grad(), n));
  const Variable alone = Variable::leaf(Tensor::ones({3}));
  CHECK(all_equal(gradient(alone, linear(ones(n, 2, bf16), Tensor::ones({3, 2}), alone)), n));
  const Variable kernel = Variable::leaf(Tensor::ones({2, 1, 1, 2}));
  const Tensor of_kernel = gradient(kernel, conv2d(Tensor::ones({1, n, 1, 2}, bf16), kernel));
  CHECK((all_equal(of_kernel, n) || (on_a_gpu() && all_equal(of_kernel, 1000))));
  const Variable bias = Variable::leaf(Tensor::ones({2}));
  CHECK(all_equal(gradient(bias, add_bias(ones(n, 2, bf16), bias)), n));
  const Variable beta = Variable::leaf(Tensor::zeros({2}));
  CHECK(all_equal(gradient(beta, layer_norm(Tensor::arange(2 * n).reshape({n, 2}).to(bf16), {}, beta)), n));
  const Variable token = Variable::leaf(Tensor::ones({1, 2}));
  CHECK(all_equal(gradient(token, cast(broadcast_to(token, {n, 2}), bf16)), n));
}

TEST_CASE("bf16: sums are rounded once, and scalars not at all") {
  if (!device_has_bf16()) return;
  const Tensor narrow = ones(1001, 2, bf16);
  CHECK(all_equal(sum(narrow, {0}), 1000));
  CHECK(all_equal(reduce(ReduceOp::Sum, narrow, {}, false, f32), 2002));
  const Tensor zeros = Tensor::zeros({1001, 1}, i64);
  CHECK(all_equal(scatter_add({1, 2}, 0, zeros, narrow), 1000));
  // 448 * 0.9 = 403.2 is nearest to 404; 0.9 in bf16 is 0.8984, and would give 402.5 and 402.
  CHECK(all_equal(Tensor::full({3}, 448, bf16) * 0.9, 404));
  CHECK(all_equal(Tensor::full({3}, 448, bf16) / (1 / 0.9), 404));
  CHECK(all_equal(1000.9 - Tensor::full({3}, 996, bf16), 4.90625));  // 1000.9 in bf16 is 1000
}

TEST_CASE("bf16: a backward pass after the scope has closed is that of the scope") {
  if (!device_has_bf16()) return;
  const auto gradients = [](bool inside) {
    const Variable x = Variable::leaf(Tensor::normal({2, 5, 5, 3}, 1, 2)),
                   w = Variable::leaf(Tensor::normal({4, 3, 3, 3}, 1, 3)),
                   v = Variable::leaf(Tensor::normal({6, 4}, 1, 4));
    Variable loss;
    {
      const PrecisionScope scope(Precision::BF16);
      loss = mean(square(widen(linear(global_avg_pool(relu(conv2d(x, w))), v))));
      CHECK(loss.dtype() == f32);
      if (inside) loss.backward();
    }
    if (!inside) loss.backward();
    return std::vector<Tensor>{x.grad(), w.grad(), v.grad()};
  };
  const std::vector<Tensor> within = gradients(true), after = gradients(false);
  for (size_t i = 0; i < within.size(); ++i) CHECK(max_abs_difference(within[i], after[i]) == 0);
}

TEST_CASE("bf16: what a checkpoint computes again after the scope has closed is computed as in the scope") {
  if (!device_has_bf16()) return;
  const auto gradients = [](bool again) {
    const Variable x = Variable::leaf(Tensor::normal({5, 3}, 1, 2)), w = Variable::leaf(Tensor::normal({4, 3}, 1, 3));
    const auto block = [&](const Variable& v) { return relu(linear(v, w)); };
    Variable loss;
    {
      const PrecisionScope scope(Precision::BF16);
      loss = mean(square(widen(again ? checkpoint(block, x) : block(x))));
    }
    loss.backward();
    return std::vector<Tensor>{x.grad(), w.grad()};
  };
  const std::vector<Tensor> once = gradients(false), twice = gradients(true);
  for (size_t i = 0; i < once.size(); ++i) CHECK(max_abs_difference(once[i], twice[i]) == 0);
}
