// The engine: what is recorded, in which order gradients flow, what is kept and freed, and what is refused.
#include <doctest/doctest.h>

#include <numeric>

#include "autograd/node.h"
#include "autograd/ops.h"

using namespace tacit;

namespace {

Variable leaf(const std::vector<double>& values) {
  return Variable::leaf(Tensor::from(values, {static_cast<int64_t>(values.size())}));
}
std::vector<double> grad_of(const Variable& v) { return v.grad().to_vector<double>(); }
using Values = std::vector<double>;

std::string error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

int64_t live_bytes() { return default_device().allocator().statistics().live_bytes; }

}  // namespace

TEST_CASE("gradients add up over uses and over backward passes") {
  const Variable x = leaf({1, 2, 3});
  sum(x * x + x).backward();  // x is used three times
  CHECK(grad_of(x) == Values{3, 5, 7});
  sum(x * 2.0).backward();
  CHECK(grad_of(x) == Values{5, 7, 9});
  x.zero_grad();
  CHECK(!x.grad().defined());
}

TEST_CASE("a shared sub-expression is differentiated once, after all of its uses") {
  const Variable x = leaf({2});
  int calls = 0;
  const Variable shared = record("shared", x.value() * 3.0, {{x, [&calls](const Tensor& dy) {
                                                                ++calls;
                                                                return dy * 3.0;
                                                              }}});
  const Variable a = shared * 2.0, b = exp(shared * 0.0), c = a * shared;
  sum(c + b + shared).backward();
  CHECK(calls == 1);
  CHECK(grad_of(x) == Values{3 * (2 * 2 * 6 + 1)});
}

TEST_CASE("two leaves that receive one gradient do not share its buffer") {
  const Variable x = leaf({1, 2}), y = leaf({3, 4});
  sum(x + y).backward();
  CHECK(!x.grad().shares_memory_with(y.grad()));
  Tensor(x.grad()).mul_(5);
  CHECK(grad_of(y) == Values{1, 1});
  const Tensor given = Tensor::ones({2}, f64);
  x.zero_grad();
  x.backward(given);
  CHECK(!x.grad().shares_memory_with(given));
}

TEST_CASE("detach, constants and NoGrad record nothing") {
  const Variable x = leaf({1, 2});
  CHECK(!(x.detach() * 2.0).requires_grad());
  CHECK(!(Variable(Tensor::ones({2}, f64)) + 1.0).requires_grad());
  CHECK(sum(x * x.detach()).requires_grad());
  {
    const NoGrad off;
    CHECK(!grad_enabled());
    CHECK(!(x * 2.0).requires_grad());
    { const NoGrad inner; }
    CHECK(!grad_enabled());  // the inner scope restores what it found
  }
  CHECK(grad_enabled());
  sum(x * x.detach()).backward();
  CHECK(grad_of(x) == Values{1, 2});
}

TEST_CASE("record drops the captures of inputs that need no gradient") {
  const Variable x = leaf({1, 2});
  Tensor big = Tensor::ones({1000}, f64);
  const Variable y =
      record("op", x.value().clone(),
             {{x, [](const Tensor& dy) { return dy; }}, {Variable(big), [big](const Tensor& dy) { return dy; }}});
  CHECK(y.requires_grad());
  CHECK(big.unshared());
  {
    const NoGrad off;
    record("op", x.value(), {{x, [big](const Tensor& dy) { return dy; }}});
    CHECK(big.unshared());
  }
  const Variable z = record_joint("op", x.value().clone(), {Variable(big), Variable()},
                                  [big](const Tensor&, const std::vector<bool>&) { return std::vector<Tensor>(2); });
  CHECK(!z.requires_grad());
  CHECK(big.unshared());
}

TEST_CASE("element-wise ops keep the input or the output, as their functor says") {
  const auto keeps = [](auto f) {
    const Variable x = leaf({0.5});
    const Variable y = f(x * 1.0);
    return y.value().unshared() ? (y.node()->edges[0].vjp ? "not its output" : "nothing") : "its output";
  };
  CHECK(std::string(keeps([](const Variable& v) { return relu(v); })) == "its output");
  CHECK(std::string(keeps([](const Variable& v) { return square(v); })) == "not its output");
  // relu keeps no input: the product's buffer is free as soon as the product is.
  const Variable x = leaf(Values(4096, 1.0));
  const int64_t before = live_bytes();
  const Variable y = relu(x * 2.0);
  CHECK(live_bytes() - before <= static_cast<int64_t>(CachingAllocator::size_class(4096 * 8)));
}

TEST_CASE("record_joint is told which gradients are needed") {
  const Variable x = leaf({1}), y = leaf({2});
  std::vector<bool> seen;
  const auto f = [&](const Tensor& dy, const std::vector<bool>& needed) {
    seen = needed;
    return std::vector<Tensor>{dy, {}, dy * 3.0};
  };
  sum(record_joint("joint", Tensor::ones({1}, f64), {x, Variable(Tensor::ones({1}, f64)), y}, f)).backward();
  CHECK(seen == std::vector<bool>{true, false, true});
  CHECK(grad_of(x) == Values{1});
  CHECK(grad_of(y) == Values{3});
}

TEST_CASE("a broadcast gradient is summed to the input's shape") {
  const Variable x = Variable::leaf(Tensor::ones({3, 1}, f64)), s = Variable::leaf(Tensor::scalar(2, f64));
  sum(x * Tensor::ones({2, 3, 4}, f64) * s).backward();
  CHECK(x.grad().shape() == Shape{3, 1});
  CHECK(grad_of(x) == Values{16, 16, 16});
  CHECK(s.grad().item() == 24);
}

TEST_CASE("misuse is an error that says so") {
  const Variable x = leaf({1, 2});
  const Variable y = sum(x * x);
  y.backward();
  CHECK(error_of([&] { y.backward(); }).find("run the forward pass again") != std::string::npos);
  CHECK(error_of([&] { (x * 2.0).backward(); }).find("needs a scalar, got shape (2,)") != std::string::npos);
  CHECK(error_of([&] { sum(x.detach()).backward(); }).find("no leaf leads here") != std::string::npos);
  CHECK(error_of([&] { (x * 2.0).backward(Tensor::ones({3}, f64)); }).find("of shape (3,)") != std::string::npos);
  CHECK(error_of([&] { (x * 2.0).backward(Tensor::ones({2}, f32)); }).find("f32") != std::string::npos);
  CHECK(error_of([&] { (x * 2.0).grad(); }).find("only leaves keep a gradient") != std::string::npos);
  CHECK(error_of([&] { Variable(x.value()).grad(); }).find("a constant") != std::string::npos);
  CHECK(error_of([&] { Variable().backward(); }) != "no error");
  CHECK(error_of([&] { Variable::leaf(Tensor::zeros({2}, i64)); }).find("floating") != std::string::npos);
  CHECK(error_of([&] { Variable::leaf(Tensor()); }) != "no error");
}

TEST_CASE("set_grad and assign_ write a leaf and check what they are given") {
  const Variable x = leaf({1, 2});
  const Tensor alias = x.value();
  x.assign_(Tensor::from(Values{5, 6}, {2}));
  CHECK(alias.to_vector<double>() == Values{5, 6});  // the memory stayed
  CHECK(error_of([&] { x.assign_(Tensor::ones({1}, f64)); }).find("[assign_]") == 0);
  x.set_grad(Tensor::ones({2}, f64));
  CHECK(grad_of(x) == Values{1, 1});
  sum(x).backward();
  CHECK(grad_of(x) == Values{2, 2});
  CHECK(error_of([&] { x.set_grad(Tensor::ones({3}, f64)); }).find("[set_grad]") == 0);
  CHECK(error_of([&] { x.set_grad(Tensor::ones({2}, f32)); }).find("[set_grad]") == 0);
  CHECK(error_of([&] { (x * 2.0).set_grad(Tensor::ones({2}, f64)); }).find("only leaves") != std::string::npos);
}

TEST_CASE("a formula that gives no gradient, or one of another dtype, is an error") {
  const Variable x = leaf({1});
  const auto missing = record("missing", x.value(), {{x, [](const Tensor&) { return Tensor(); }}});
  CHECK(error_of([&] { sum(missing).backward(); }).find("[missing]") == 0);
  const auto narrow = record("narrow", x.value(), {{x, [](const Tensor& dy) { return dy.to(f32); }}});
  CHECK(error_of([&] { sum(narrow).backward(); }).find("[narrow]") == 0);
  const auto wide = record("wide", x.value(), {{x, [](const Tensor&) { return Tensor::ones({2, 3}, f64); }}});
  sum(wide).backward();  // (2, 3) sums to (1)
  CHECK(grad_of(x) == Values{6});
}

TEST_CASE("a chain of 200,000 nodes is differentiated and freed") {
  constexpr int kDepth = 200000;
  const Variable x = leaf({1});
  {
    Variable y = x;
    for (int i = 0; i < kDepth; ++i) y = record("link", y.value(), {{y, [](const Tensor& dy) { return dy; }}});
    y.backward();
    CHECK(grad_of(x) == Values{1});
  }
  {
    Variable y = x;
    for (int i = 0; i < kDepth; ++i) y = record("link", y.value(), {{y, [](const Tensor& dy) { return dy; }}});
  }  // freed without having been differentiated
  {
    // A ladder: each node holds the one before twice.
    Variable y = x;
    for (int i = 0; i < kDepth; ++i)
      y = record("rung", y.value(),
                 {{y, [](const Tensor& dy) { return dy; }}, {y, [](const Tensor& dy) { return dy; }}});
  }
  CHECK(x.node().use_count() == 1);
}

TEST_CASE("backward may nest inside a formula") {
  // Recomputation: y = exp(x)^2 is computed without a graph, and differentiated by running it again in its formula.
  const Variable x = leaf({0.5, 1}), outer = leaf({2, 3});
  const auto block = [](const Variable& v) { return square(exp(v)); };
  Tensor value;
  {
    const NoGrad off;
    value = block(x).value();
  }
  const Variable y = record("recompute", value, {{x, [&, saved = x.value()](const Tensor& dy) {
                                                    const Variable inner = Variable::leaf(saved);
                                                    block(inner).backward(dy);
                                                    return inner.grad();
                                                  }}});
  sum(y * outer).backward();
  const Variable plain = leaf({0.5, 1});
  sum(block(plain) * outer.detach()).backward();
  CHECK(grad_of(x) == grad_of(plain));
  CHECK(grad_of(outer) == value.to_vector<double>());
}

TEST_CASE("a nested pass may reach a leaf of the pass around it") {
  const Variable x = leaf({1, 2}), w = leaf({3, 4});
  const Variable y = record("nested", x.value() * 1.0, {{x, [&](const Tensor& dy) {
                                                           sum(w * w).backward();
                                                           return dy;
                                                         }}});
  sum(y * w).backward();
  CHECK(grad_of(x) == Values{3, 4});
  CHECK(grad_of(w) == Values{6 + 1, 8 + 2});
}

TEST_CASE("on_grad fires once a pass, when the gradient is complete") {
  const Variable x = leaf({1, 2}), unused = leaf({1});
  std::vector<Values> seen;
  on_grad(x, [&](const Tensor& g) { seen.push_back(g.to_vector<double>()); });
  on_grad(unused, [&](const Tensor&) { seen.push_back({}); });
  sum(x * x + x * 3.0).backward();
  CHECK(seen == std::vector<Values>{{5, 7}});
  sum(x).backward();
  CHECK(seen == std::vector<Values>{{5, 7}, {6, 8}});
  CHECK(error_of([&] { on_grad(x * 2.0, [](const Tensor&) {}); }).find("not a leaf") != std::string::npos);
}

TEST_CASE("activations are freed while backward passes, and gradients when their leaf is") {
  constexpr int kLayers = 20;
  constexpr int64_t kBytes = 1 << 20;
  default_device().allocator().trim();
  const int64_t before = live_bytes();
  {
    const Variable x = Variable::leaf(Tensor::full({kBytes / 4}, 0.5));
    std::vector<int64_t> live;
    Variable y = x;
    for (int i = 0; i < kLayers; ++i) {
      y = sin(y);
      y = record("probe", y.value(), {{y, [&live](const Tensor& dy) {
                                         live.push_back(live_bytes());
                                         return dy;
                                       }}});
    }
    const Variable loss = sum(y);
    y = Variable();
    CHECK(live_bytes() - before >= kLayers * kBytes);
    loss.backward();
    REQUIRE(live.size() == kLayers);
    // The first gradient is the sum's: one number, broadcast. From the second on, each step frees an activation.
    for (size_t i = 2; i < live.size(); ++i) CHECK(live[i] <= live[i - 1] - kBytes + 4096);
    CHECK(live_bytes() - before <= 3 * kBytes);  // x, its gradient, and the loss
  }
  CHECK(live_bytes() == before);
}

TEST_CASE("gradients at ties and at the edges of domains") {
  const Variable a = leaf({1, 2, 3}), b = leaf({1, 5, 0});
  sum(maximum(a, b) * 2.0).backward();
  CHECK(grad_of(a) == Values{1, 0, 2});
  CHECK(grad_of(b) == Values{1, 2, 0});
  const Variable tied = leaf({4, 1, 4, 4});
  amax(tied).backward();
  CHECK(grad_of(tied) == Values{1.0 / 3, 0, 1.0 / 3, 1.0 / 3});
  const Variable zero = leaf({0, 0, 0});
  sum(pow(zero, Tensor::from(Values{0, 1, 2}, {3}))).backward();
  CHECK(grad_of(zero) == Values{0, 1, 0});
  const Variable null_row = Variable::leaf(Tensor::zeros({1, 3}, f64));
  sum(l2_normalize(null_row, 0.5)).backward();
  CHECK(grad_of(null_row) == Values{2, 2, 2});
}

TEST_CASE("batch norm keeps its running statistics as torch does") {
  const Tensor x = Tensor::from(Values{1, 10, 2, 20, 6, 60}, {3, 2});
  const RunningStats running{Tensor::zeros({2}, f64), Tensor::ones({2}, f64), 0.25};
  const Variable gamma = Variable::leaf(Tensor::ones({2}, f64));
  const Variable y = batch_norm(x, gamma, {}, running, true);
  CHECK(running.mean.to_vector<double>() == Values{0.75, 7.5});
  CHECK(running.var.to_vector<double>()[0] == doctest::Approx(0.75 + 0.25 * 7));  // unbiased: 14 / (3 - 1)
  CHECK(running.var.to_vector<double>()[1] == doctest::Approx(0.75 + 0.25 * 700));
  const Tensor before = running.mean.clone();
  const Variable evaluated = batch_norm(x, gamma, {}, running, false);
  CHECK(max_abs_difference(running.mean, before) == 0);
  CHECK(evaluated.value().to_vector<double>()[0] == doctest::Approx(0.25 / std::sqrt(2.5 + 1e-5)));
  // A training step between an evaluation's forward and backward passes does not change its gradient.
  batch_norm(x, gamma, {}, running, true);
  sum(evaluated).backward();
  CHECK(grad_of(gamma)[0] == doctest::Approx((9 - 3 * 0.75) / std::sqrt(2.5 + 1e-5)));
}

TEST_CASE("dropout drops by position and counter, the same elements in every dtype") {
  const Tensor ones = Tensor::ones({1000}, f64);
  const Values a = dropout(ones, 0.25, 1, 2, 3).value().to_vector<double>();
  CHECK(a == dropout(ones, 0.25, 1, 2, 3).value().to_vector<double>());
  CHECK(a != dropout(ones, 0.25, 1, 2, 4).value().to_vector<double>());
  CHECK(max_abs_difference(dropout(ones.to(f32), 0.25, 1, 2, 3).value(), Tensor::from(a, {1000})) < 1e-6);
  const double kept = std::accumulate(a.begin(), a.end(), 0.0) * 0.75;
  CHECK(kept > 690);
  CHECK(kept < 810);
  CHECK(max_abs_difference(dropout(ones, 0, 1, 2, 3).value(), ones) == 0);
  CHECK(error_of([&] { dropout(ones, 1, 1, 2, 3); }).find("[dropout]") == 0);
}

TEST_CASE("empty batches work or are refused") {
  const auto empty = [](const Shape& s) { return Variable::leaf(Tensor::zeros(s)); };
  const Variable w = empty({4, 5}), x = empty({0, 5}), b = empty({4});
  sum(linear(x, w, b)).backward();
  CHECK(x.grad().shape() == Shape{0, 5});
  CHECK(max_abs_difference(w.grad(), Tensor::zeros({4, 5})) == 0);
  CHECK(max_abs_difference(b.grad(), Tensor::zeros({4})) == 0);
  const Variable images = empty({0, 8, 8, 3}), kernel = empty({2, 3, 3, 3});
  sum(global_avg_pool(max_pool2d(relu(conv2d(images, kernel))))).backward();
  CHECK(kernel.grad().shape() == kernel.shape());
  const Variable gain = empty({5});
  sum(layer_norm(x, gain, {})).backward();
  CHECK(max_abs_difference(gain.grad(), Tensor::zeros({5})) == 0);
  sum(softmax(x)).backward();
  sum(l2_normalize(x)).backward();
  sum(batch_norm(x, gain, {}, {Tensor::zeros({5}), Tensor::ones({5})}, false)).backward();
  CHECK(error_of([&] { batch_norm(x, {}, {}, {}, true); }).find("more than one value per channel") !=
        std::string::npos);
  CHECK(error_of([&] { batch_norm(empty({1, 5}), {}, {}, {}, true); }).find("[batch_norm]") == 0);
  CHECK(error_of([&] { cross_entropy(x, Tensor::zeros({0}, i64)); }).find("[cross_entropy]") == 0);
  CHECK(error_of([&] { mean(x); }).find("no elements") != std::string::npos);
  CHECK(error_of([&] { amax(x); }).find("no elements") != std::string::npos);
}

TEST_CASE("wrong ranks, shapes, dtypes and devices are errors") {
  const Tensor x = Tensor::ones({2, 3}), images = Tensor::ones({1, 4, 4, 3});
  const Tensor elsewhere = Tensor::ones({2, 3}, f32, Device("reference"));
  const auto refused = [](const std::function<void()>& f) {
    const std::string text = error_of(f);
    CAPTURE(text);
    CHECK(text[0] == '[');
  };
  refused([&] { add(x, Tensor::ones({2, 3}, f64)); });
  refused([&] { mul(x, elsewhere); });
  refused([&] { add(x, Tensor::ones({4})); });
  refused([&] { add(x, Variable()); });
  refused([&] { exp(Variable()); });
  refused([&] { exp(Tensor::ones({2}, i64)); });
  refused([&] { matmul(x, x); });
  refused([&] { matmul(Tensor::ones({3}), x); });
  refused([&] { linear(x, Tensor::ones({4, 2})); });
  refused([&] { linear(x, Tensor::ones({4, 3}), Tensor::ones({3})); });
  refused([&] { sum(x, {2}); });
  refused([&] { permute(x, {0, 0}); });
  refused([&] { slice(x, 0, 1, 9); });
  refused([&] { select(x, 0, 2); });
  refused([&] { squeeze(x, 0); });
  refused([&] { reshape(x, {4, -1}); });
  refused([&] { broadcast_to(x, {2, 4}); });
  refused([&] { concatenate(std::vector<Variable>{}, 0); });
  refused([&] { concatenate(std::vector<Variable>{x, Tensor::ones({2, 3, 1})}, 0); });
  refused([&] { gather(x, 1, Tensor::full({2, 1}, 3, i64)); });
  refused([&] { gather(x, 1, Tensor::full({2, 1}, -1, i64)); });
  refused([&] { gather(x, 1, Tensor::zeros({2, 1}, i32)); });
  refused([&] { gather(x, 1, Tensor()); });
  refused([&] { index_select(x, 2, Tensor::zeros({1}, i64)); });
  refused([&] { conv2d(x, Tensor::ones({2, 3, 3, 3})); });
  refused([&] { conv2d(images, Tensor::ones({2, 3, 3, 4})); });
  refused([&] { conv2d(images, Tensor::ones({2, 3, 3, 3}), {.stride = 0}); });
  refused([&] { conv2d(images, Tensor::ones({2, 3, 3, 3}, f64)); });
  refused([&] { max_pool2d(x); });
  refused([&] { max_pool2d(images, {.kernel = 9}); });
  refused([&] { adaptive_avg_pool2d(images, 0, 1); });
  refused([&] { global_avg_pool(x); });
  refused([&] { batch_norm(x, Tensor::ones({2}), {}, {}, true); });
  refused([&] { batch_norm(x, {}, {}, {}, false); });
  refused([&] { batch_norm(x, {}, {}, {Tensor::ones({3}, f64), Tensor::ones({3}, f64)}, true); });
  refused([&] { batch_norm_relu(x, {}, {}, Tensor::ones({3}), {}, true); });
  refused([&] { layer_norm(x, Tensor::ones({2}), {}); });
  refused([&] { l2_normalize(Tensor::scalar(1)); });
  refused([&] { softmax(Tensor::scalar(1)); });
  refused([&] { cross_entropy(x, Tensor::full({2}, 3, i64)); });
  refused([&] { cross_entropy(x, Tensor::zeros({3}, i64)); });
  refused([&] { cross_entropy(x, Tensor::zeros({2}, i32)); });
  refused([&] { cross_entropy(x, Tensor::zeros({2}, i64), 1.5); });
  refused([&] { where(Tensor::ones({2, 3}), x, x); });
  CHECK(error_of([&] {
          gather(x, 1, Tensor::full({2, 1}, 7, i64));
        }).find("index 7 is out of range") != std::string::npos);
}
