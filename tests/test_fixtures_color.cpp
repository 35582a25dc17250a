// Colorization against NumPy and PyTorch: Lab, bins, soft codes, weights, decoding and five whole steps
// (tests/fixtures/color.py).
#include <memory>

#include "autograd/ops.h"
#include "optim/adamw.h"
#include "ssl/methods/color_bins.h"
#include "ssl/methods/colorization.h"
#include "ssl/methods/lab.h"
#include "tests/five_steps.h"
#include "tests/fixtures.h"

using namespace tacit;
using namespace tacit::testing;

namespace {

Tensor colours(const std::string& name, const Shape& shape, DType t) {
  return sigmoid(draw(name, shape, f64) * 1.5).to(t);
}

Tensor prior(DType t) { return softmax(draw("color prior", {ssl::color_bins().size(0)}, f64) * 2.0).to(t); }

Tensor dense(const ssl::SoftCode& code) {
  return scatter_add({code.index.size(0), ssl::color_bins().size(0)}, 1, code.index, code.weight);
}

}  // namespace

TEST_CASE("NumPy: RGB to Lab and back, the bins of the gamut") {
  in_both(1e-10, 1e-4, [](DType t, double tolerance) {
    const Tensor rgb = square(colours("lab rgb", {300, 3}, t)), lab = ssl::rgb_to_lab(rgb);
    check_fixture("lab", lab, tolerance);
    const Tensor shifted = lab + Tensor::from(std::vector<double>{0, 25, -25}, {3}).to(t);
    check_fixture("lab back", ssl::lab_to_rgb(shifted), tolerance);
    check_fixture("color bins", ssl::color_bins(), 1e-12);
  });
}

TEST_CASE("PyTorch: soft codes, class weights, annealed mean") {
  in_both(1e-10, 1e-4, [](DType t, double tolerance) {
    const Tensor bins = ssl::color_bins().to(default_device()).to(t);
    const Tensor ab = ssl::rgb_to_lab(square(colours("lab rgb", {300, 3}, f64))).slice(1, 1, 3).to(t);
    check_fixture("soft code 5", dense(ssl::soft_encode(ab, bins, 5, 5)), tolerance);
    check_fixture("soft code 10", dense(ssl::soft_encode(ab, bins, 10, 5)), tolerance);
    check_fixture("color weights", ssl::rebalancing_weights(prior(t), 0.5), tolerance);
    const Tensor logits = draw("color logits", {40, bins.size(0)}, f64) * 3.0;
    check_fixture("annealed mean", ssl::annealed_mean(logits.to(t), bins, 0.38), tolerance);
  });
}

TEST_CASE("PyTorch: five whole steps of colorization") {
  for (const DType t : {f64, f32})
    for (const std::string loss : {"classification", "regression"}) {
      const std::string name = loss == "regression" ? "colorization regression" : "colorization";
      ssl::Colorization model(nn::make_encoder({.name = "small_cnn", .width = 8, .channels = 1}),
                              {.loss = loss, .image_size = 20, .width = 12});
      draw_weights(model, t);
      model.set_prior(prior(f64));
      optim::AdamW optimizer(model, {.weight_decay = 1e-2});
      five_steps(name, model, t, optimizer, 0.02, [&](int step) {
        Tensor rgb = colours(name + " " + std::to_string(step) + " view", {16, 20, 20, 3}, t);
        Tensor gray = rgb.select(0, 3);
        gray.copy_(gray.slice(2, 0, 1).clone());
        return std::vector<Tensor>{rgb};
      });
    }
}
