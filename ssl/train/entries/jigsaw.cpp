// Jigsaw on the command line: its settings, its recipes, and how it is made from a configuration.
#include "ssl/methods/jigsaw.h"

#include "ssl/data/image_source.h"
#include "ssl/data/printable.h"
#include "ssl/methods/permutations.h"
#include "ssl/train/entries/shared.h"

namespace tacit::ssl {

namespace {
namespace jigsaw {

/// The small budget's network and optimiser. Hardly tuned: four patches of 11 pixels and all 24 orders, since nine
/// patches would have 7 pixels each (3 epochs of 20,000 images, one seed: linear 81.0 % against 79.7 %). Patches are
/// three fifths of an image's pixels, so the time of the other methods' epochs is enough for twice as many.
void fashion_mnist_demo(TrainConfig& c) {
  small_budget(c);
  c.augmentation = "jigsaw";
  c.grid = 2;
  c.permutations = 0;
  c.gap.reset();
  c.patch_features = 128;
  c.patch_normalization = true;
  c.epochs = 30;
}

void small_images(TrainConfig& c) {
  fashion_mnist_demo(c);
  small_budget_colour(c);
  c.augmentation = "jigsaw";
  c.epochs = 40;
}

/// As above at 64 pixels, whose nine cells leave patches of 16.
void folder(TrainConfig& c) {
  small_images(c);
  small_budget_folder(c);
  c.grid = 3;
}

/// The CIFAR-10 ResNet-18 of other methods with VISSL's optimiser and schedule, shortened to 100 epochs. Untuned: no
/// paper trained jigsaw at this size.
void cifar10(TrainConfig& c) {
  cifar_resnet(c);
  c.augmentation = "jigsaw";
  c.grid = 2;
  c.permutations = 0;
  c.patch_features = 512;
  c.epochs = 100;
  c.batch_size = 256;
  c.base_lr = 0.1;
  c.warmup_fraction = 0.05;
}

/// No paper trains jigsaw on STL-10: the CIFAR-10 recipe at 96 pixels, where nine cells leave patches of 24; VISSL's
/// smallest set of 100 permutations, the best of its sets by linear probe (48.6 % on ImageNet).
void stl10(TrainConfig& c) {
  cifar10(c);
  stl10_images(c);
  c.grid = 3;
  c.permutations = 100;
}

/// VISSL's ResNet-50 (configs/config/pretrain/jigsaw/jigsaw_8gpu_resnet.yaml; linear 46.7 % with these 2000
/// permutations, 48.6 % with 100): cells of 85 pixels, patches of 64, 1000 features a patch, whole images normalised
/// instead of patches; SGD with lr 0.1 for 256 images, 5 epochs of warm-up (there from a quarter of the rate), divided
/// by 10 after 30, 60, 90 and 100 of 105 epochs. Its decay leaves out norms, not biases.
void imagenet(TrainConfig& c) {
  imagenet_resnet(c);
  c.augmentation = "jigsaw";
  c.image_size = 255;
  c.grid = 3;
  c.permutations = 2000;
  c.gap = 21;
  c.patch_features = 1000;
  c.patch_normalization = false;
  c.epochs = 105;
  c.batch_size = 256;
  c.optimizer = "sgd";
  c.base_lr = 0.1;
  c.weight_decay = 1e-4;
  c.decay_all = false;
  c.warmup_fraction.reset();
  c.warmup_epochs = 5;
  c.schedule = "steps";
  c.lr_drop_epochs = {30, 60, 90, 100};
  c.lr_drop_factor = 0.1;
}

void add_settings(Settings& s, TrainConfig& c) {
  s.add_for("jigsaw", "grid", &c.grid, "cells a side of the puzzle: 2 or 3");
  s.add_for("jigsaw", "permutations", &c.permutations,
            "orders to tell apart, chosen far apart (0: all 24 of 2 x 2, 100 of 3 x 3)");
  s.add_for("jigsaw", "gap", &c.gap, "pixels by which a patch is smaller than its cell, and moves about in it");
  s.show_default("gap", "a quarter of the cell");
  s.add_for("jigsaw", "patch-features", &c.patch_features, "size of the head's layer that each patch passes");
  s.add_for("jigsaw", "patch-normalization", &c.patch_normalization, "bring each patch to mean 0 and deviation 1");
}

void check_settings(const TrainConfig& c) {
  constexpr int64_t kMost = 10'000;  // the largest set published; the choice takes seconds
  check_range<int64_t>("grid", c.grid, 2, 3);
  check_range<int64_t>("patch-features", c.patch_features, 1, 65536);
  const int64_t limit = std::min(permutation_limit(c.grid), kMost);
  check(c.permutations == 0 || (c.permutations >= 2 && c.permutations <= limit),
        "--permutations " + std::to_string(c.permutations) + " of --grid " + std::to_string(c.grid) +
            ": there must be 2 to " + std::to_string(limit) + " (or 0: a usual number)");
  check(!nn::is_vit(c.encoder),
        "--encoder " + c.encoder + " sees images of one size; jigsaw's sees patches, use small_cnn, nin or a ResNet");
  check_range<int64_t>("gap", c.gap.value_or(0), 0, 1024);
  if (c.image_size == 0) return;
  as_usage("", [&] { patch_geometry(c.image_size, c.grid, c.gap); });
}

/// Images enlarged to patches of a pixel each have no puzzle in them.
void check_images(const TrainConfig& c, const ImageSource& source) {
  const int64_t sampled = std::min<int64_t>(32, source.size());
  for (int64_t k = 0; k < sampled; ++k) {
    const int64_t i = k * source.size() / sampled;
    Image image;
    try {
      image = source.image(i);
    } catch (const Error&) {  // a damaged one is told of elsewhere
      continue;
    }
    TACIT_CHECK(std::min(image.height, image.width) >= c.grid, "--data: ", printable(source.file(i)), " has ",
                image.height, " x ", image.width, " pixels, which --grid ", c.grid, " cannot cut; use larger images");
  }
}

JigsawOptions options_of(const TrainConfig& c) {
  return {.grid = c.grid,
          .permutations = c.permutations,
          .gap = c.gap,
          .patch_features = c.patch_features,
          .patch_normalization = c.patch_normalization,
          .seed = static_cast<uint64_t>(c.seed)};
}

std::unique_ptr<Method> make(const TrainConfig& c) {
  return std::make_unique<Jigsaw>(nn::make_encoder(c.encoder_options()), options_of(c));
}

ShownViews shown(const TrainConfig& c) {
  const Tensor permutations = jigsaw_permutations(c.grid, permutation_count(c.grid, c.permutations));
  return [options = options_of(c), permutations](const Tensor& views, int64_t step) {
    return laid_puzzles(views, options, permutations, step);
  };
}

}  // namespace jigsaw
}  // namespace

MethodEntry jigsaw_entry() {
  using namespace jigsaw;
  MethodEntry entry{
      "jigsaw",
      "tells in which order the pieces of an image were laid (Noroozi & Favaro 2016)",
      1,
      add_settings,
      check_settings,
      make,
      usual_recipes(
          fashion_mnist_demo, small_images, folder,
          {{"cifar10", "CIFAR-10 with a ResNet-18, 100 epochs: hours on a CPU", cifar10},
           {"stl10", "STL-10's unlabelled images, ResNet-18, 3 x 3 patches, 100 epochs: days on a CPU", stl10},
           {"imagenet", "VISSL's ResNet-50 with 2000 permutations, for folders of ImageNet's size", imagenet}}),
      "--grid 3 --permutations 500"};
  entry.shown = shown;
  entry.check_images = check_images;
  return entry;
}

}  // namespace tacit::ssl
