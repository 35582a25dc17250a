// tacit against the official formulas of MAE, on timm's blocks: five whole steps, masks included.
// What PyTorch computed is in fixtures/results_mae.json; fixtures/mae.py has the same names in the same order.
#include <doctest/doctest.h>

#include <functional>
#include <memory>

#include "nn/encoder.h"
#include "optim/adamw.h"
#include "optim/sgd.h"
#include "ssl/methods/mae.h"
#include "tests/five_steps.h"
#include "tests/fixtures.h"

using namespace tacit;
using namespace tacit::testing;

TEST_CASE("PyTorch: five whole steps of MAE") {
  struct Case {
    const char* name;
    bool norm_pixels;
    int64_t height, width, channels;
    double mask_ratio, lr_scale;
    std::function<std::unique_ptr<optim::Optimizer>(nn::Module&)> make;
  };
  const std::vector<Case> cases = {{"mae normalised sgd", true, 16, 12, 3, 0.75, 1.0,
                                    [](nn::Module& m) {
                                      return std::make_unique<optim::SGD>(
                                          m, optim::SGDOptions{.momentum = 0.9, .weight_decay = 0.05});
                                    }},
                                   {"mae pixels adamw", false, 8, 20, 1, 0.6, 0.1, [](nn::Module& m) {
                                      return std::make_unique<optim::AdamW>(
                                          m, optim::AdamWOptions{.weight_decay = 0.05, .beta2 = 0.95, .eps = 1e-4});
                                    }}};
  for (const DType t : {f64, f32})
    for (const Case& c : cases) {
      const std::string name = c.name;
      ssl::MAE model(
          nn::Encoder(nn::ViT({.dim = 24,
                               .depth = 2,
                               .heads = 2,
                               .patch = 4,
                               .image_h = c.height,
                               .image_w = c.width,
                               .channels = c.channels,
                               .position = nn::Position::SinCos})),
          {.mask_ratio = c.mask_ratio, .decoder = {.dim = 16, .depth = 2, .heads = 4}, .norm_pixels = c.norm_pixels});
      draw_weights(model, t);
      const auto optimizer = c.make(model);
      five_steps(name, model, t, *optimizer, c.lr_scale, [&](int step) {
        return std::vector<Tensor>{draw(name + " " + std::to_string(step), {6, c.height, c.width, c.channels}, t)};
      });
    }
}
