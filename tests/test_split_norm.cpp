// SplitBatchNorm: how a batch is cut, and that each group is normalised as if it were a batch of its own, in the value,
// the gradients and the running statistics.
#include <doctest/doctest.h>

#include "autograd/ops.h"
#include "nn/encoder.h"
#include "nn/norm.h"
#include "tests/values.h"

using namespace tacit;
using namespace tacit::nn;
using namespace tacit::testing;

namespace {

/// The samples of group g, in order, as a batch of their own.
Tensor group_of(const Tensor& x, int64_t g, int64_t groups, bool strided) {
  const int64_t n = x.size(0) / groups;
  return (strided ? x.slice(0, g, x.size(0), groups) : x.slice(0, g * n, (g + 1) * n)).clone();
}

Tensor average(const std::vector<Tensor>& ts) { return mean(stack(ts, 0), {0}); }

}  // namespace

TEST_CASE("a batch is cut into its largest divisor of groups") {
  CHECK(split_groups(512, 8) == 8);
  CHECK(split_groups(12, 8) == 6);
  CHECK(split_groups(7, 4) == 1);
  CHECK(split_groups(4, 8) == 4);
  CHECK(split_groups(30, 0) == 1);
  CHECK(split_groups(30, 1) == 1);
  CHECK_THROWS_AS(split_groups(30, -1), Error);
}

TEST_CASE("every group is normalised as a batch of its own; running statistics are averaged over the groups") {
  for (const Shape& shape : {Shape{6, 4, 3, 5}, Shape{12, 5}})
    for (const bool strided : {false, true})
      for (const bool relu : {false, true}) {
        CAPTURE(shape);
        CAPTURE(strided);
        CAPTURE(relu);
        const int64_t groups = 3;
        BatchNorm split(5, {.momentum = 0.2, .splits = 3, .strided = strided});
        split.to(f64);
        split.weight.variable().assign_(Tensor::normal({5}, 1, 1, f64));
        split.bias.variable().assign_(Tensor::normal({5}, 1, 2, f64));
        split.running_mean.value().copy_(Tensor::normal({5}, 1, 3, f64));
        const StateDict before = state_dict(split);
        const Variable x = Variable::leaf(Tensor::normal(shape, 1, 4, f64)),
                       residual = Variable::leaf(Tensor::normal(shape, 1, 5, f64));
        const Tensor dy = Tensor::normal(shape, 1, 6, f64);
        const Variable y = relu ? split.relu(x, residual) : split(x);
        sum(y * dy).backward();

        std::vector<Tensor> means, variances;
        Tensor dgamma = Tensor::zeros({5}, f64), dbeta = dgamma.clone();
        for (int64_t g = 0; g < groups; ++g) {
          BatchNorm own(5, {.momentum = 0.2});
          own.to(f64);
          load_state(own, before);
          const Variable part = Variable::leaf(group_of(x.value(), g, groups, strided)),
                         plus = Variable::leaf(group_of(residual.value(), g, groups, strided));
          const Variable expected = relu ? own.relu(part, plus) : own(part);
          sum(expected * group_of(dy, g, groups, strided)).backward();
          CHECK(max_abs_difference(group_of(y.value(), g, groups, strided), expected.value()) < 1e-14);
          CHECK(max_abs_difference(group_of(x.grad(), g, groups, strided), part.grad()) < 1e-14);
          if (relu) CHECK(max_abs_difference(group_of(residual.grad(), g, groups, strided), plus.grad()) < 1e-14);
          means.push_back(own.running_mean.value());
          variances.push_back(own.running_var.value());
          dgamma.add_(own.weight.variable().grad());
          dbeta.add_(own.bias.variable().grad());
        }
        CHECK(max_abs_difference(split.weight.variable().grad(), dgamma) < 1e-13);
        CHECK(max_abs_difference(split.bias.variable().grad(), dbeta) < 1e-13);
        CHECK(max_abs_difference(split.running_mean.value(), average(means)) < 1e-15);
        CHECK(max_abs_difference(split.running_var.value(), average(variances)) < 1e-15);
        CHECK(split.num_batches_tracked.value().item() == 1);
      }
}

TEST_CASE("in evaluation nothing is split; a batch that is one group is plain batch norm") {
  const Tensor x = Tensor::normal({6, 4, 3, 5}, 1, 4);
  BatchNorm split(5, {.splits = 3}), plain(5);
  CHECK(max_abs_difference(split(x).value(), plain(x).value()) > 0.01);
  load_state(plain, state_dict(split));
  split.eval();
  plain.eval();
  CHECK(max_abs_difference(split(x).value(), plain(x).value()) == 0);
  split.train();
  plain.train();
  const Tensor prime = Tensor::normal({7, 4, 3, 5}, 1, 4);
  CHECK(max_abs_difference(split(prime).value(), plain(prime).value()) == 0);
  const Tensor rows = Tensor::normal({3, 5}, 1, 4);
  CHECK(mentions(error_of([&] { split(rows); }), "in 3 groups; use a larger batch, fewer groups"));
  CHECK(mentions(error_of([&] { batch_norm(x, {}, {}, {}, true, 1e-5, {4, false}); }), "a batch of 6 cannot be cut"));
  CHECK_THROWS_AS(BatchNorm(5, {.splits = -1}), Error);
}

TEST_CASE("bn_splits reaches every norm of every encoder: no sample touches another group's") {
  for (const std::string name : {"resnet18", "resnet50", "small_cnn", "nin"}) {
    CAPTURE(name);
    Encoder encoder = make_encoder({.name = name, .width = 6, .bn_splits = 2, .seed = 1});
    const Tensor a = Tensor::normal({4, 32, 32, 3}, 1, 4);
    Tensor b = a.clone();
    b.slice(0, 2, 4).mul_(3);  // the second group changes
    const Tensor from_a = encoder(a).value(), from_b = encoder(b).value();
    CHECK(max_abs_difference(from_a.slice(0, 0, 2), from_b.slice(0, 0, 2)) == 0);
    Encoder whole = make_encoder({.name = name, .width = 6, .seed = 1});
    CHECK(max_abs_difference(whole(a).value(), whole(b).value()) > 1e-3);
    CHECK(max_abs_difference(whole(a).value().slice(0, 0, 2), whole(b).value().slice(0, 0, 2)) > 1e-3);
  }
}
