// Colorization on the command line: its settings, its recipes, and how it is made from a configuration. There is no
// recipe for Fashion-MNIST, which has no colours.
#include "ssl/methods/colorization.h"

#include "ssl/methods/lab.h"
#include "ssl/train/entries/shared.h"

namespace tacit::ssl {

namespace {
namespace colorization {

/// The small budget's network and optimiser under this task: a first setting, not yet compared with its neighbours.
void small_images(TrainConfig& c) {
  small_budget(c);
  small_budget_colour(c);
  c.augmentation = "colorization";
  c.channels = 3;
  c.color_loss = "classification";
  c.color_stride = 4;
  c.color_width = 64;
  c.color_neighbours = 5;  // the paper's
  c.color_uniform = 0.5;
  c.epochs = 10;  // its steps take longer than SimCLR's
}

void folder(TrainConfig& c) {
  small_images(c);
  small_budget_folder(c);
}

/// No paper trains this task on CIFAR-10: the ResNet-18 of other methods' CIFAR-10 recipes with Adam, which the paper
/// uses, at a rate usual for that network.
void cifar10(TrainConfig& c) {
  small_images(c);
  cifar_resnet(c);
  c.batch_size = 256;
  c.epochs = 100;
  c.optimizer = "adamw";
  c.base_lr.reset();
  c.lr = 1e-3;
  c.weight_decay = 1e-2;
  c.decay_all = false;
  c.warmup_fraction = 0.05;
  c.color_width = 128;
}

/// No paper trains this task on STL-10: the CIFAR-10 recipe at 96 pixels, a prediction for each fourth one.
void stl10(TrainConfig& c) {
  cifar10(c);
  stl10_images(c);
}

/// richzhang/colorization (train/solver.prototxt, models/colorization_train_val_v2.prototxt): crops of 176 of 256
/// pixels, batches of 40, Adam at 3e-5 with beta2 .99, a tenth after each 225,000 of 500,000 steps (here 7, 14 and 16
/// epochs of ImageNet), ten neighbours, 256 channels before the prediction. Its trunk is a VGG without pooling; VISSL's
/// ResNet-50 (40.1 % linear) takes its place. Adam's L2 of 1e-3 there is decoupled here.
void imagenet(TrainConfig& c) {
  small_images(c);
  imagenet_resnet(c);
  c.augmentation = "colorization";
  c.image_size = 176;
  c.batch_size = 40;
  c.epochs = 16;
  c.optimizer = "adamw";
  c.lr = 3e-5;
  c.beta2 = 0.99;
  c.weight_decay = 1e-3;
  c.decay_all = true;
  c.warmup_fraction = 0;
  c.schedule = "steps";
  c.lr_drop_epochs = {7, 14};
  c.lr_drop_factor = 0.1;
  c.color_width = 256;
  c.color_neighbours = 10;
}

void add_settings(Settings& s, TrainConfig& c) {
  s.add_for("colorization", "color-loss", &c.color_loss, "classification (of bins of ab) or regression (of ab, L2)");
  s.add_for("colorization", "color-stride", &c.color_stride, "a prediction for every so many-th pixel each way");
  s.add_for("colorization", "color-width", &c.color_width, "channels of the decoder");
  s.add_for("colorization", "color-neighbours", &c.color_neighbours,
            "bins that a pixel's target is spread over (paper: 5; its code: 10)");
  s.add_for("colorization", "color-uniform", &c.color_uniform,
            "share of the uniform distribution in the prior that rare colours' weights are made of (1: no weights)");
  for (const char* flag : {"color-neighbours", "color-uniform"})
    s.used_if(
        "colorization", flag, [&c] { return c.color_loss != "regression"; },
        std::string("--") + flag + " is of --color-loss classification; regression has no bins of colours");
}

void check_settings(const TrainConfig& c) {
  check_choice("color-loss", c.color_loss, {"classification", "regression"});
  check_range<int64_t>("color-stride", c.color_stride, 1, 64);
  check_range<int64_t>("color-width", c.color_width, 1, 4096);
  check_range<int64_t>("color-neighbours", c.color_neighbours, 1, 100);
  check_range("color-uniform", c.color_uniform, 1e-3, 1.);
  check(c.image_size == 0 || c.color_stride < c.image_size,
        "--color-stride " + std::to_string(c.color_stride) + " leaves one pixel of --image-size " +
            std::to_string(c.image_size) + " to predict; use a smaller one, such as 4");
  check(c.channels == 3, "--channels " + std::to_string(c.channels) +
                             ": colorization predicts the colours of RGB images; it needs --channels 3");
  check(!nn::is_vit(c.encoder), "--encoder " + c.encoder +
                                    " has no map of features for colorization's decoder; use a convolutional "
                                    "one, such as resnet18");
}

std::unique_ptr<Method> make(const TrainConfig& c) {
  return std::make_unique<Colorization>(nn::make_encoder(c.encoder_options()),
                                        ColorizationOptions{.loss = c.color_loss,
                                                            .image_size = c.image_size,
                                                            .stride = c.color_stride,
                                                            .width = c.color_width,
                                                            .neighbours = c.color_neighbours,
                                                            .uniform = c.color_uniform,
                                                            .seed = static_cast<uint64_t>(c.seed)});
}

/// The lightness alone.
ShownViews shown(const TrainConfig&) {
  return [](const Tensor& views, int64_t) { return lightness_as_gray(views); };
}

}  // namespace colorization
}  // namespace

MethodEntry colorization_entry() {
  using namespace colorization;
  return {"colorization",
          "predicts the colours of an image from its lightness (Zhang et al. 2016)",
          1,
          add_settings,
          check_settings,
          make,
          {{"small-images", "images up to 64 pixels, quickly (the default for them)", small_images},
           {"folder", "a folder of photographs at 64 pixels (the default for larger images)", folder},
           {"cifar10", "CIFAR-10 with a ResNet-18, 100 epochs: hours on a CPU", cifar10},
           {"stl10", "STL-10's unlabelled images, ResNet-18, 100 epochs: days on a CPU", stl10},
           {"imagenet", "the official setting with a ResNet-50, for folders of that size", imagenet}},
          "--color-loss regression",
          true,
          shown};
}

}  // namespace tacit::ssl
