// PrecisionScope(BF16) over whole training steps of the default device (see main.cpp): the losses follow those of f32,
// and what lives from step to step stays f32. On a device that does not compute with bf16 they are the same numbers.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <memory>

#include "nn/encoder.h"
#include "nn/vit.h"
#include "optim/sgd.h"
#include "ssl/methods/byol.h"
#include "ssl/methods/colorization.h"
#include "ssl/methods/jigsaw.h"
#include "ssl/methods/mae.h"
#include "ssl/methods/moco.h"
#include "ssl/methods/rotation.h"
#include "ssl/methods/simclr.h"
#include "tensor/ops.h"
#include "tensor/precision.h"

using namespace tacit;

namespace {

using Make = std::function<std::unique_ptr<ssl::Method>()>;
using Views = std::vector<Shape>;

constexpr double kLr = 0.005;

struct Trained {
  std::vector<double> losses;      // of each step
  std::vector<Tensor> gradients;   // of the first step
  std::vector<Tensor> parameters;  // after the last
};

/// Views of the same noise, with some noise of their own.
std::vector<Tensor> batch(const Views& shapes, int step) {
  std::vector<Tensor> views;
  const auto at = static_cast<uint64_t>(10 * step);
  for (const Shape& shape : shapes)
    views.push_back(Tensor::normal(shape, 3, at) + Tensor::normal(shape, 4, at + views.size()) * 0.3);
  return views;
}

void check_all_f32(ssl::Method& method) {
  for (const auto& named : method.named_parameters()) {
    const Variable& p = named.second->variable();
    CHECK(p.dtype() == f32);
    if (p.requires_grad() && p.grad().defined()) CHECK(p.grad().dtype() == f32);
  }
  for (const auto& named : method.named_buffers()) CHECK(named.second->value().dtype() != bf16);
  for (const auto& named : method.metrics()) CHECK(named.second.dtype() == f32);
}

/// `round_weights`: initial parameters rounded to bf16, to see what an error of that size does by itself.
Trained train(const Make& make, int steps, const Views& views, Precision allowed, bool round_weights = false) {
  const std::unique_ptr<ssl::Method> method = make();
  optim::SGD optimizer(*method, {.lr = kLr, .momentum = 0.9});
  const PrecisionScope scope(allowed);
  Trained trained;
  for (const auto& named : method->named_parameters())
    if (round_weights) named.second->variable().assign_(named.second->value().to(bf16).to(f32));
  for (int step = 0; step < steps; ++step) {
    const Variable loss = method->loss(batch(views, step), {step, steps});
    CHECK(loss.dtype() == f32);
    optimizer.zero_grad();
    loss.backward();
    check_all_f32(*method);
    for (const auto& named : method->named_parameters())
      if (step == 0 && named.second->variable().requires_grad())
        trained.gradients.push_back(named.second->variable().grad().clone());
    optimizer.step();
    method->after_step({step, steps});
    trained.losses.push_back(loss.item());
  }
  for (const auto& named : method->named_parameters()) trained.parameters.push_back(named.second->value());
  return trained;
}

double squares(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  double total = 0;
  for (size_t i = 0; i < a.size(); ++i) total += sum(square((a[i] - b[i]).to(f64))).item();
  return total;
}

/// |a - b| / |a - origin|, of all tensors together.
double distance(const std::vector<Tensor>& a, const std::vector<Tensor>& b, const std::vector<Tensor>& origin) {
  return std::sqrt(squares(a, b) / squares(a, origin));
}
double distance(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  std::vector<Tensor> zeros;
  for (const Tensor& t : a) zeros.push_back(t * 0.0);
  return distance(a, b, zeros);
}

/// Each loss of b within a share of a's.
void check_losses(const Trained& a, const Trained& b, double share) {
  for (size_t step = 0; step < a.losses.size(); ++step) {
    CAPTURE(step);
    CHECK(b.losses[step] == doctest::Approx(a.losses[step]).epsilon(share));
  }
}

void check_same(const Trained& a, const Trained& b) {
  CHECK(a.losses == b.losses);
  CHECK(squares(a.gradients, b.gradients) == 0);
  CHECK(squares(a.parameters, b.parameters) == 0);
}

nn::Encoder encoder(const std::string& name, int64_t width, int64_t channels = 3) {
  return nn::make_encoder({.name = name, .width = width, .stem = "imagenet", .image_size = 16, .channels = channels});
}

nn::Encoder vit(bool checkpoint = false) {
  return nn::Encoder(nn::ViT({.dim = 16,
                              .depth = 2,
                              .heads = 2,
                              .patch = 4,
                              .image_h = 16,
                              .image_w = 16,
                              .channels = 3,
                              .position = nn::Position::Learned,
                              .checkpoint = checkpoint}));
}

}  // namespace

TEST_CASE("bf16: five steps of MAE follow f32's: losses within 0.5 %, parameters within 2 % of how far they moved") {
  const Make make = [] {
    return std::make_unique<ssl::MAE>(
        vit(), ssl::MAEOptions{.mask_ratio = 0.75, .decoder = {.dim = 16, .depth = 1, .heads = 2}});
  };
  const Views views = {{4, 16, 16, 3}};
  const Trained exact = train(make, 5, views, Precision::F32), narrow = train(make, 5, views, Precision::BF16);
  check_losses(exact, narrow, 0.005);
  CHECK(distance(exact.parameters, narrow.parameters, train(make, 0, views, Precision::F32).parameters) < 0.02);
  if (!default_device().backend().computes_bf16()) check_same(exact, narrow);
}

// Contrastive gradients are differences of nearly equal numbers: rounding the initial weights alone moves this
// network's by 5 to 10 %, in f32. So bf16's are measured by that.
TEST_CASE("bf16: five steps of SimCLR follow f32's: losses within 5 %, gradients as if the weights had been rounded") {
  const Make make = [] {
    return std::make_unique<ssl::SimCLR>(encoder("small_cnn", 4), ssl::SimCLROptions{.projector = {16, 8}});
  };
  const Views views(2, Shape{8, 16, 16, 3});
  const Trained exact = train(make, 5, views, Precision::F32), narrow = train(make, 5, views, Precision::BF16);
  check_losses(exact, narrow, 0.05);
  const Trained rounded = train(make, 1, views, Precision::F32, true);
  CHECK(distance(exact.gradients, narrow.gradients) < 2 * distance(exact.gradients, rounded.gradients));
  if (!default_device().backend().computes_bf16()) check_same(exact, narrow);
}

TEST_CASE("bf16: a step of every method gives f32's loss within 5 %, and keeps parameters and metrics f32") {
  const Views one = {{6, 16, 16, 3}}, two(2, one[0]);
  const std::vector<int64_t> head = {16, 8};
  struct Case {
    const char* name;
    Make make;
    Views views;
  };
  const std::vector<Case> cases = {
      {"SimCLR, ResNet",
       [&] { return std::make_unique<ssl::SimCLR>(encoder("resnet18", 4), ssl::SimCLROptions{.projector = head}); },
       two},
      {"SimCLR in chunks",
       [&] {
         return std::make_unique<ssl::SimCLR>(encoder("small_cnn", 4),
                                              ssl::SimCLROptions{.projector = head, .chunk_size = 3});
       },
       two},
      {"MoCo v2",
       [&] {
         return std::make_unique<ssl::MoCo>(
             encoder("small_cnn", 4),
             ssl::MoCoOptions{.variant = "v2", .queue_size = 12, .projector = head, .bn_splits = 2});
       },
       two},
      {"MoCo v3, ViT",
       [&] {
         return std::make_unique<ssl::MoCo>(vit(),
                                            ssl::MoCoOptions{.variant = "v3", .projector = head, .predictor = head});
       },
       two},
      {"BYOL, nin",
       [&] {
         return std::make_unique<ssl::BYOL>(encoder("nin", 12), ssl::BYOLOptions{.projector = head, .predictor = head});
       },
       two},
      {"rotation", [&] { return std::make_unique<ssl::Rotation>(encoder("small_cnn", 4), ssl::RotationOptions{}); },
       one},
      {"jigsaw",
       [&] {
         return std::make_unique<ssl::Jigsaw>(encoder("small_cnn", 4),
                                              ssl::JigsawOptions{.grid = 2, .patch_features = 8});
       },
       one},
      {"colorization",
       [&] {
         return std::make_unique<ssl::Colorization>(
             encoder("small_cnn", 4, 1), ssl::ColorizationOptions{.image_size = 16, .stride = 4, .width = 8});
       },
       one}};
  for (const Case& c : cases) {
    CAPTURE(c.name);
    const Trained exact = train(c.make, 1, c.views, Precision::F32),
                  narrow = train(c.make, 1, c.views, Precision::BF16);
    check_losses(exact, narrow, 0.05);
    if (!default_device().backend().computes_bf16()) check_same(exact, narrow);
  }
  CHECK(default_device().backend().fallbacks() == 0);
}

TEST_CASE("bf16: blocks that are computed again give the same gradients") {
  const auto make = [](bool checkpoint) {
    return [checkpoint] { return std::make_unique<ssl::Rotation>(vit(checkpoint), ssl::RotationOptions{}); };
  };
  const Views views = {{2, 16, 16, 3}};
  check_same(train(make(false), 1, views, Precision::BF16), train(make(true), 1, views, Precision::BF16));
}

TEST_CASE("bf16: an encoder's features are f32, at each of its stages") {
  const PrecisionScope scope(Precision::BF16);
  const Tensor images = batch({{4, 16, 16, 3}}, 0)[0];
  for (nn::Encoder network : {encoder("small_cnn", 4), vit()}) {
    CHECK(network(images).dtype() == f32);
    for (const std::string& stage : network.stages()) CHECK(network.stage(stage, images).dtype() == f32);
  }
}
