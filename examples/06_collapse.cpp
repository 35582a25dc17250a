// Why BYOL does not collapse: three networks learn from the same images to predict one view of an image from the other.
// Without negatives the easy answer is to give every image one and the same feature. BYOL as published does not fall
// for it; take away the predictor, or the stop-gradient, and the deviation of its projections goes to 0 while the loss
// looks better than ever.
//   example_06_collapse [STEPS]
#include <cstdio>

#include "tacit.h"

using namespace tacit;

namespace {

constexpr int64_t kSize = 24, kBatch = 64;

struct Variant {
  const char* name;
  ssl::BYOLOptions options;
  ssl::BYOL model = ssl::BYOL(nn::make_encoder({.name = "small_cnn", .image_size = kSize, .channels = 3}), options);
  optim::AdamW optimizer = optim::AdamW(model, {.lr = 2e-3, .weight_decay = 1e-4});
  double loss = 0;

  void step(const std::vector<Tensor>& views, const ssl::Progress& progress) {
    const Variable l = model.loss(views, progress);
    optimizer.zero_grad();
    l.backward();
    optimizer.step();
    model.after_step(progress);  // the target follows
    loss = l.item();
  }
  /// 1: spread over the sphere like unrelated vectors; 0: all the same.
  double spread() { return model.metrics().at("projection_std").item(); }
};

ssl::BYOLOptions small_heads() {
  ssl::BYOLOptions options;
  options.target_momentum = 0.97;
  options.projector = {128, 32};
  options.predictor = {128, 32};
  return options;
}

}  // namespace

int main(int argc, char** argv) try {
  const int64_t steps = argc > 1 ? std::stoll(argv[1]) : 120;
  ssl::BYOLOptions published = small_heads(), no_predictor = small_heads(), no_stop = small_heads();
  no_predictor.use_predictor = false;
  no_stop.use_predictor = false;
  no_stop.stop_gradient = false;
  Variant variants[] = {{"BYOL", published}, {"no predictor", no_predictor}, {"and no stop-gradient", no_stop}};

  ssl::Loader loader(
      ssl::open_data({"synthetic:1000"}, ssl::Split::Train),
      {.batch_size = kBatch, .image_size = kSize, .channels = 3, .views = ssl::augmentation("simclr", kSize, 3)});
  std::printf("%-6s", "step");
  for (const Variant& v : variants) std::printf("  %26s", v.name);
  std::printf("\n%-6s", "");
  for (size_t i = 0; i < 3; ++i) std::printf("  %26s", "loss      deviation");
  std::printf("\n");
  for (int64_t step = 0; step < steps; ++step) {
    const std::vector<Tensor> views = loader.next().views;  // the same for all three
    for (Variant& v : variants) v.step(views, {step, steps});
    if (step % 10 != 0 && step + 1 != steps) continue;
    std::printf("%-6lld", static_cast<long long>(step));
    for (Variant& v : variants) std::printf("  %12.3f  %12.3f", v.loss, v.spread());
    std::printf("\n");
  }
} catch (const std::exception& e) {
  std::fprintf(stderr, "error: %s\n", e.what());
  return 1;
}
