// A masked autoencoder paints in what it was not shown. Three quarters of each image's patches are hidden; the encoder
// sees the rest, a small decoder guesses the hidden ones. Pictures before and after training show what it learned.
//   example_07_mae [STEPS]      writes mae_before.png and mae_after.png: image, what the encoder sees, the guess
#include <cstdio>

#include "tacit.h"

using namespace tacit;

int main(int argc, char** argv) try {
  const int64_t steps = argc > 1 ? std::stoll(argv[1]) : 250, size = 24, channels = 3;
  const auto images = ssl::open_data({"synthetic:2000"}, ssl::Split::Train);
  const std::vector<ssl::ViewPolicy> policy = ssl::augmentation("mae", size, channels);
  ssl::Loader loader(images, {.batch_size = 32, .image_size = size, .channels = channels, .views = policy});

  nn::ViTOptions vit;
  vit.dim = 96, vit.depth = 4, vit.heads = 3;
  vit.patch = 4, vit.image_h = size, vit.image_w = size, vit.channels = channels;
  vit.position = nn::Position::SinCos;
  ssl::MAEOptions options;
  options.decoder = {.dim = 64, .depth = 2, .heads = 2};
  options.norm_pixels = false;  // the guess is of the pixels themselves, so that it can be looked at
  ssl::MAE model(nn::Encoder(nn::ViT(vit)), options);
  optim::AdamW optimizer(model, {.lr = 1e-3, .weight_decay = 0.05, .beta2 = 0.95});

  const Tensor shown = loader.next().views[0].slice(0, 0, 8);
  const auto draw = [&](const char* file) {
    ssl::columns_sheet(model.reconstruct(shown, 1), policy[0]).write_png(file);
    std::printf("%s\n", file);
  };
  draw("mae_before.png");
  for (int64_t step = 0; step < steps; ++step) {
    optimizer.set_lr(optim::warmup_cosine(step, steps / 10, steps, 1e-3));
    const Variable loss = model.loss(loader.next().views, {step, steps});
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
    if (step % 25 == 0 || step + 1 == steps)
      std::printf("step %4lld  loss %.3f  (guessing the mean colour: %.3f)\n", static_cast<long long>(step),
                  loss.item(), model.chance(32).loss);
  }
  draw("mae_after.png");
} catch (const std::exception& e) {
  std::fprintf(stderr, "error: %s\n", e.what());
  return 1;
}
