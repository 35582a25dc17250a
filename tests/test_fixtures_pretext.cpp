// tacit against PyTorch: five whole steps of rotation and jigsaw, in f64 and f32.
// What PyTorch computed is in fixtures/results_pretext.json; fixtures/pretext.py has the same names in the same order.
#include <doctest/doctest.h>

#include <functional>
#include <memory>

#include "optim/adamw.h"
#include "optim/sgd.h"
#include "ssl/methods/jigsaw.h"
#include "ssl/methods/rotation.h"
#include "tests/five_steps.h"
#include "tests/fixtures.h"

using namespace tacit;
using namespace tacit::testing;

namespace {

using Make = std::function<std::unique_ptr<optim::Optimizer>(nn::Module&)>;
struct Training {
  const char* name;
  Make make;
  double lr_scale;
  Shape view;
};

std::unique_ptr<optim::Optimizer> sgd(nn::Module& m) {
  return std::make_unique<optim::SGD>(m, optim::SGDOptions{.momentum = 0.9, .weight_decay = 5e-4, .nesterov = true});
}
std::unique_ptr<optim::Optimizer> adamw(nn::Module& m) {
  return std::make_unique<optim::AdamW>(m, optim::AdamWOptions{.weight_decay = 1e-2});
}

void train(ssl::Method& model, const Training& training, DType t) {
  const std::string name = training.name;
  draw_weights(model, t);
  const auto optimizer = training.make(model);
  five_steps(name, model, t, *optimizer, training.lr_scale, [&](int step) {
    return std::vector<Tensor>{draw(name + " " + std::to_string(step) + " view", training.view, t)};
  });
}

}  // namespace

TEST_CASE("PyTorch: five whole steps of rotation") {
  for (const DType t : {f64, f32}) {
    ssl::Rotation nin(nn::make_encoder({.name = "nin", .width = 12}), {});
    train(nin, {"rotation nin sgd", sgd, 0.3, {6, 16, 16, 3}}, t);
    ssl::Rotation small(nn::make_encoder({.name = "small_cnn", .width = 8}), {});
    train(small, {"rotation small_cnn adamw", adamw, 0.02, {6, 16, 16, 3}}, t);
  }
}

TEST_CASE("PyTorch: five whole steps of jigsaw, with 2 x 2 and 3 x 3 patches") {
  for (const DType t : {f64, f32}) {
    ssl::Jigsaw small(nn::make_encoder({.name = "small_cnn", .width = 8}), {.grid = 2, .patch_features = 12});
    train(small, {"jigsaw small_cnn adamw", adamw, 0.02, {8, 29, 29, 3}}, t);
    ssl::Jigsaw nin(nn::make_encoder({.name = "nin", .width = 12}),
                    {.grid = 3, .permutations = 30, .patch_features = 10});
    train(nin, {"jigsaw nin sgd", sgd, 0.1, {6, 35, 35, 3}}, t);
  }
}
