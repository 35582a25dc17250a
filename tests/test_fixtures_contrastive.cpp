// tacit against PyTorch: five whole steps of MoCo and BYOL, in f64 and f32. What PyTorch computed is in
// fixtures/results_contrastive.json; fixtures/contrastive.py has the same names in the same order.
#include <doctest/doctest.h>

#include "autograd/ops.h"
#include "optim/lars.h"
#include "optim/sgd.h"
#include "ssl/methods/byol.h"
#include "ssl/methods/moco.h"
#include "tests/five_steps.h"
#include "tests/fixtures.h"

using namespace tacit;
using namespace tacit::testing;

namespace {

using MakeOptimizer = std::unique_ptr<optim::Optimizer> (*)(nn::Module&);

std::unique_ptr<optim::Optimizer> sgd(nn::Module& m) {
  return std::make_unique<optim::SGD>(m, optim::SGDOptions{.momentum = 0.9, .weight_decay = 1e-4});
}
std::unique_ptr<optim::Optimizer> lars(nn::Module& m) {
  return std::make_unique<optim::LARS>(m, optim::LARSOptions{.weight_decay = 1e-2, .eta = 0.1});
}

nn::Encoder cnn(int64_t splits) { return nn::make_encoder({.name = "small_cnn", .width = 8, .bn_splits = splits}); }

void train(const std::string& name, ssl::Method& method, DType t, MakeOptimizer make, double lr_scale) {
  draw_weights(method, t);
  for (const auto& named : method.named_buffers()) {
    Tensor& queue = named.second->value();
    if (named.first == "queue") queue.copy_(l2_normalize(draw(name + " queue", queue.shape(), t)));
  }
  const auto optimizer = make(method);
  five_steps(name, method, t, *optimizer, lr_scale, [&](int step) {
    const std::string view = name + " " + std::to_string(step) + " view ";
    const Shape shape{16, 16, 16, 3};
    return std::vector<Tensor>{draw(view + "0", shape, t), draw(view + "1", shape, t)};
  });
}

}  // namespace

TEST_CASE("PyTorch: five whole steps of MoCo v1, v2, with and without split batch norm, and of its symmetric loss") {
  for (const DType t : {f64, f32})
    for (const std::string name : {"moco v1", "moco v2", "moco v2 split", "moco v2 symmetric"}) {
      const bool first = name == "moco v1";
      const int64_t splits = first || name == "moco v2" ? 0 : 4;
      ssl::MoCo model(cnn(splits), {.variant = first ? "v1" : "v2",
                                    .temperature = first ? 0.07 : 0.2,
                                    .queue_size = 64,
                                    .momentum = 0.9,
                                    .symmetric = name == "moco v2 symmetric",
                                    .projector = first ? std::vector<int64_t>{16} : std::vector<int64_t>{32, 16},
                                    .projector_batch_norm = splits > 0,
                                    .bn_splits = splits});
      train(name, model, t, sgd, 0.2);
    }
}

TEST_CASE("PyTorch: five whole steps of MoCo v3, with the heads of ResNets and of ViTs") {
  for (const DType t : {f64, f32})
    for (const bool vit : {false, true}) {
      ssl::MoCo model(cnn(0), {.variant = "v3",
                               .temperature = 1,
                               .momentum = 0.9,
                               .projector = {32, 16},
                               .predictor = {32, 16},
                               .predictor_last_batch_norm = vit});
      train(vit ? "moco v3 vit" : "moco v3", model, t, lars, 0.5);
    }
}

TEST_CASE("PyTorch: five whole steps of BYOL under SGD and LARS") {
  for (const DType t : {f64, f32})
    for (const bool adaptive : {false, true}) {
      ssl::BYOL model(cnn(0), {.target_momentum = 0.9, .projector = {32, 16}, .predictor = {32, 16}});
      train(adaptive ? "byol lars" : "byol sgd", model, t, adaptive ? lars : sgd, adaptive ? 0.5 : 0.2);
    }
}
