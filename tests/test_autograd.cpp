// The engine: what is recorded, in which order gradients flow, what is kept and freed, and what is refused.
#include <doctest/doctest.h>

#include "autograd/checkpoint.h"
#include "autograd/node.h"
#include "autograd/ops.h"

using namespace tacit;

namespace {

Variable leaf(const std::vector<double>& values) {
  return Variable::leaf(Tensor::from(values, {static_cast<int64_t>(values.size())}));
}
std::vector<double> grad_of(const Variable& v) { return v.grad().to_vector<double>(); }
using Values = std::vector<double>;
using Floats = std::vector<float>;
Floats floats_of(const Variable& v) { return v.grad().to_vector<float>(); }

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

TEST_CASE("checkpoint: the same gradients from a graph that is made again; its activations are not kept") {
  const auto run = [](bool checkpointed, int64_t* kept) {
    const auto drawn = [](uint64_t stream) { return Variable::leaf(Tensor::normal({1 << 14}, 1, stream).to(f64)); };
    const Variable x = drawn(2), w = drawn(3);
    int calls = 0, again = 0;
    const VariableFunction f = [&](const Variable& v) {
      ++calls;
      return sin(exp(sin(v * w)) * v);
    };
    const VariableFunction second = [&](const Variable& v) {
      ++again;
      return f(v);
    };
    const int64_t before = live_bytes();
    const Variable y = checkpointed ? checkpoint(f, x * 1.0, second) : f(x * 1.0);
    *kept = live_bytes() - before;
    sum(square(y)).backward();
    CHECK(calls == (checkpointed ? 2 : 1));
    CHECK(again == (checkpointed ? 1 : 0));
    return std::pair{grad_of(x), grad_of(w)};
  };
  int64_t plain = 0, less = 0;
  const auto expected = run(false, &plain), got = run(true, &less);
  CHECK(got == expected);
  CHECK(less * 2 <= plain);
  // Where nothing is recorded there is nothing to make again.
  int calls = 0;
  const VariableFunction counted = [&](const Variable& v) {
    ++calls;
    return exp(v);
  };
  CHECK_FALSE(checkpoint(counted, Tensor::ones({2})).requires_grad());
  {
    const NoGrad off;
    CHECK_FALSE(checkpoint(counted, leaf({1, 2})).requires_grad());
  }
  CHECK(calls == 2);
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

TEST_CASE("a convolution makes batch norm's relu again instead of keeping it, to the same gradients") {
  const Shape shape{2, 64, 64, 8};
  const Variable x = Variable::leaf(Tensor::normal(shape, 1, 1)), gamma = Variable::leaf(Tensor::uniform({8}, 1, 2));
  const Variable beta = Variable::leaf(Tensor::uniform({8}, 1, 3)),
                 w = Variable::leaf(Tensor::normal({8, 3, 3, 8}, 1, 4));
  const Tensor dy = Tensor::normal(shape, 1, 5);
  const Conv2dOptions same{.padding = 1};
  const auto normalised = [&] { return batch_norm_relu(x, gamma, beta, {}, {}, true); };

  // The chain by hand, through a leaf in the middle: its convolution keeps the value.
  const Variable middle = Variable::leaf(normalised().value());
  conv2d(middle, w, same).backward(dy);
  normalised().backward(middle.grad());
  const std::vector<Floats> want = {floats_of(x), floats_of(gamma), floats_of(beta), floats_of(w)};
  for (const Variable* v : {&x, &gamma, &beta, &w}) v->zero_grad();

  const int64_t before = live_bytes();
  const Variable y = conv2d(normalised(), w, same);
  CHECK(live_bytes() - before < shape.numel() * 4 * 3 / 2);  // y alone
  y.backward(dy);
  CHECK(std::vector<Floats>{floats_of(x), floats_of(gamma), floats_of(beta), floats_of(w)} == want);

  // In groups of strided samples, and in evaluation, where the statistics may move on before the backward pass.
  for (const bool training : {true, false}) {
    CAPTURE(training);
    const BatchSplit split{.groups = training ? 2 : 1, .strided = training};
    const auto gradients = [&](bool kept) {
      for (const Variable* v : {&x, &gamma, &beta, &w}) v->zero_grad();
      const Tensor mean = Tensor::full({8}, 0.1), var = Tensor::full({8}, 2);
      const Variable hidden = batch_norm_relu(x, gamma, beta, {}, {mean, var, 0.1}, training, 1e-5, split);
      const Variable leaf = Variable::leaf(hidden.value().clone());
      const Variable result = conv2d(kept ? leaf : hidden, w, same);
      Tensor(mean).fill_(5);
      result.backward(dy);
      if (kept) hidden.backward(leaf.grad());
      return std::vector<Floats>{floats_of(x), floats_of(gamma), floats_of(beta), floats_of(w)};
    };
    CHECK(gradients(false) == gradients(true));
  }

  // With a residual the result is kept: making it again would need the residual.
  const Variable residual = Variable::leaf(Tensor::normal(shape, 1, 6));
  const int64_t start = live_bytes();
  const Variable added = conv2d(batch_norm_relu(x, gamma, beta, residual, {}, true), w, same);
  CHECK(live_bytes() - start >= 2 * shape.numel() * 4);
}

TEST_CASE("element-wise gradients take over the memory of a gradient that nobody else holds") {
  const Shape shape{1 << 10, 64};
  const Variable x = Variable::leaf(Tensor::normal(shape, 1, 1)), other = Variable::leaf(Tensor::normal(shape, 1, 2));
  const Tensor dy = Tensor::normal(shape, 1, 3);
  const Floats given = dy.to_vector<float>();
  gelu(x).backward(dy);
  CHECK(dy.to_vector<float>() == given);  // the caller's own
  const Floats want = floats_of(x);
  x.zero_grad();

  // A gradient that two formulas hold, one of them element-wise: the other still reads the whole of it.
  const Variable sum = gelu(x) + other;
  sum.backward(dy);
  CHECK(floats_of(x) == want);
  CHECK(floats_of(other) == given);
  x.zero_grad();

  // x -> gelu -> gelu -> gelu: one buffer goes back through all three.
  const Variable y = gelu(gelu(gelu(x)));
  CachingAllocator& allocator = default_device().allocator();
  allocator.reset_peak();
  const int64_t before = live_bytes();
  y.backward(dy);
  CHECK(allocator.statistics().peak_bytes - before <= shape.numel() * 4);
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
