// SimCLR in thirty lines: two views of each image, an encoder that learns to tell which belong together.
//   example_05_simclr [DATA] [EPOCHS]      DATA as for the command tacit: fashion-mnist, cifar10:DIR, folder:DIR,
//   synthetic
#include <iostream>

#include "tacit.h"

using namespace tacit;

int main(int argc, char** argv) try {
  const std::string data = argc > 1 ? argv[1] : "synthetic:1000";
  const int64_t epochs = argc > 2 ? std::stoll(argv[2]) : 2, size = 32, channels = 3;
  const auto images = ssl::open_data({data}, ssl::Split::Train);

  ssl::Loader loader(images, {.batch_size = 128,
                              .image_size = size,
                              .channels = channels,
                              .views = ssl::augmentation("simclr", size, channels)});
  ssl::SimCLR model(nn::make_encoder({.name = "small_cnn", .channels = channels}), {.temperature = 0.2});
  optim::AdamW optimizer(model, {.lr = 2e-3, .weight_decay = 1e-2});

  const int64_t steps = epochs * loader.batches_per_epoch();
  for (int64_t step = 0; step < steps; ++step) {
    optimizer.set_lr(optim::warmup_cosine(step, steps / 10, steps, 2e-3));
    const Variable loss = model.loss(loader.next().views, {step, steps});
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
    std::cout << "step " << step << "  loss " << loss.item() << "  (chance " << model.chance(128).loss << ")\n";
  }
  write_safetensors("encoder.safetensors", {nn::state_dict(model.encoder()), {}});
} catch (const Error& e) {
  std::cerr << "error: " << e.what() << '\n';
  return 1;
}
