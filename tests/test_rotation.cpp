// Rotation: the turns against values by hand, and that a network learns to tell them.
#include <doctest/doctest.h>

#include <cmath>

#include "optim/adamw.h"
#include "ssl/methods/rotation.h"
#include "tensor/ops.h"

using namespace tacit;
using namespace tacit::ssl;

namespace {

nn::Encoder tiny_encoder() { return nn::make_encoder({.name = "small_cnn", .width = 4}); }

/// Noise that is brighter at the top: which way is up can be told.
Tensor lit_from_above(int64_t images, int64_t size, uint64_t step) {
  std::vector<float> light;
  for (int64_t y = 0; y < size; ++y) light.push_back(1 - 2 * static_cast<float>(y) / static_cast<float>(size - 1));
  return Tensor::normal({images, size, size, 3}, step, 1) * 0.5 + Tensor::from(light, {1, size, 1, 1});
}

}  // namespace

TEST_CASE("the four turns of an image are side by side, counter-clockwise, channels untouched") {
  // Two images of two channels: 1 2 / 3 4 and 5 6 / 7 8, the second channel 10 higher.
  const Tensor images =
      Tensor::from(std::vector<float>{1, 11, 2, 12, 3, 13, 4, 14, 5, 15, 6, 16, 7, 17, 8, 18}, {2, 2, 2, 2});
  const std::vector<std::vector<float>> turned = {{1, 2, 3, 4}, {2, 4, 1, 3}, {4, 3, 2, 1}, {3, 1, 4, 2},
                                                  {5, 6, 7, 8}, {6, 8, 5, 7}, {8, 7, 6, 5}, {7, 5, 8, 6}};
  const Tensor rotations = four_rotations(images);
  CHECK(rotations.shape() == Shape{8, 2, 2, 2});
  for (size_t i = 0; i < turned.size(); ++i) {
    CAPTURE(i);
    const Tensor one = rotations.select(0, static_cast<int64_t>(i));
    CHECK(one.select(2, 0).clone().to_vector<float>() == turned[i]);
    std::vector<float> second = turned[i];
    for (float& x : second) x += 10;
    CHECK(one.select(2, 1).clone().to_vector<float>() == second);
  }
}

TEST_CASE("rectangular images and a wrong number of views are refused") {
  CHECK_THROWS_WITH_AS(four_rotations(Tensor::zeros({2, 8, 6, 3})), doctest::Contains("square"), Error);
  CHECK_THROWS_AS(four_rotations(Tensor::zeros({8, 8, 3})), Error);
  Rotation model(tiny_encoder(), {});
  const Tensor view = Tensor::zeros({2, 16, 16, 3});
  CHECK_THROWS_WITH_AS(model.loss({view, view}, {}), doctest::Contains("one view"), Error);
}

TEST_CASE("rotation is learned: accuracy and spread say so, chance is 1 of 4") {
  Rotation model(tiny_encoder(), {});
  CHECK(model.chance(99).loss == doctest::Approx(std::log(4.0)));
  CHECK(model.chance(99).top1 == 0.25);
  optim::AdamW optimizer(model, {.lr = 5e-3});
  double first = 0, last = 0;
  for (uint64_t step = 0; step < 40; ++step) {
    const Variable loss = model.loss({lit_from_above(8, 16, step)}, {});
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
    last = loss.item();
    if (step == 0) first = last;
  }
  CHECK(first == doctest::Approx(std::log(4.0)).epsilon(0.3));
  CHECK(last < 0.3 * first);
  CHECK(model.metrics().at("pretext_top1").item() > 0.9);
  CHECK(model.metrics().at("feature_std").item() > 0.2);
  CHECK(model.project(model.encoder()(lit_from_above(3, 16, 0))).shape() == Shape{3, 4});
}
