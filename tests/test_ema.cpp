// Moving averages of weights: one step by hand, what is averaged and what is not, targets that do not fit, the
// schedule.
#include <doctest/doctest.h>

#include "autograd/ops.h"
#include "nn/encoder.h"
#include "nn/linear.h"
#include "nn/mlp.h"
#include "optim/ema.h"
#include "tests/values.h"

using namespace tacit;
using namespace tacit::optim;
using namespace tacit::testing;

TEST_CASE("EMA: one step by hand, so that momentum and 1 - momentum are not swapped") {
  nn::Linear online(2, 1);
  online.to(f64);
  nn::Frozen<nn::Linear> target(online);
  target.module().weight.variable().assign_(tensor_of({1, -2}, {1, 2}, f64));
  target.module().bias.variable().assign_(tensor_of({3}, {1}, f64));
  online.weight.variable().assign_(tensor_of({11, 8}, {1, 2}, f64));
  online.bias.variable().assign_(tensor_of({3}, {1}, f64));
  ema_update_(target, online, 0.9);
  check_values(target.module().weight.value(), {0.9 * 1 + 0.1 * 11, 0.9 * -2 + 0.1 * 8}, 1e-15);
  check_values(target.module().bias.value(), {3}, 0);
  check_values(online.weight.value(), {11, 8}, 0);
  ema_update_(target, online, 1);
  check_values(target.module().weight.value(), {2, -1}, 1e-15);
  ema_update_(target, online, 0);
  check_values(target.module().weight.value(), {11, 8}, 0);
}

TEST_CASE("EMA: a frozen encoder shares no memory with the online one, and its statistics are its own") {
  nn::Encoder online = nn::make_encoder({.name = "small_cnn", .width = 4, .seed = 1});
  nn::Frozen<nn::Encoder> target(online);
  const auto ours = target.named_parameters(), theirs = online.named_parameters();
  REQUIRE(ours.size() == theirs.size());
  for (size_t i = 0; i < ours.size(); ++i)
    CHECK_FALSE(ours[i].second->value().shares_memory_with(theirs[i].second->value()));
  for (const auto& named : theirs) named.second->variable().assign_(named.second->value() + 1.0);
  online(Tensor::normal({4, 16, 16, 3}, 1, 2));  // moves the online statistics
  const nn::StateDict before = nn::state_dict(target);
  ema_update_(target, online, 0.75);
  const nn::StateDict after = nn::state_dict(target);
  for (const auto& named : target.named_buffers())
    CHECK(values_of(before.at(named.first)) == values_of(after.at(named.first)));
  for (const auto& named : target.named_parameters()) {
    const std::string& name = named.first;
    CAPTURE(name);
    CHECK(max_abs_difference(after.at(name), before.at(name) + 0.25) < 1e-6);
  }
}

TEST_CASE("EMA: targets that do not fit are refused") {
  nn::Linear online(2, 3), other(3, 2), no_bias(2, 3, {.bias = false});
  nn::MLP deep(2, {3, 3});
  nn::Linear one_more(2, 3);
  one_more.to(f64);
  CHECK(mentions(error_of([&] { ema_update_(other, online, 0.9); }), "weight (2, 3) stands against weight (3, 2)"));
  CHECK(mentions(error_of([&] { ema_update_(no_bias, online, 0.9); }), "1 parameters"));
  CHECK(error_of([&] { ema_update_(deep, online, 0.9); }) != "");
  CHECK(error_of([&] { ema_update_(one_more, online, 0.9); }) != "");
  CHECK(mentions(error_of([&] { ema_update_(online, online, 0.9); }), "one tensor in both"));
  nn::Linear target = online;
  CHECK(mentions(error_of([&] { ema_update_(target, online, 1.5); }), "momentum 1.5"));
}

TEST_CASE("BYOL's momentum rises from the base to 1") {
  CHECK(cosine_momentum(0, 100, 0.99) == doctest::Approx(0.99).epsilon(1e-15));
  CHECK(cosine_momentum(50, 100, 0.99) == doctest::Approx(0.995).epsilon(1e-15));
  CHECK(cosine_momentum(25, 100, 0.96) == doctest::Approx(1 - 0.04 * (std::sqrt(0.5) + 1) / 2).epsilon(1e-15));
  CHECK(cosine_momentum(100, 100, 0.99) == 1);
  CHECK_THROWS_AS(cosine_momentum(101, 100, 0.99), Error);
  CHECK_THROWS_AS(cosine_momentum(0, 0, 0.99), Error);
  CHECK_THROWS_AS(cosine_momentum(0, 10, 1.5), Error);
}
