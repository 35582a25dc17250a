#include "ssl/train/entries/shared.h"

namespace tacit::ssl {

void add_projector_settings(Settings& s, TrainConfig& c, const std::string& method) {
  s.add_for(method, "projector", &c.projector, "hidden and output sizes of the head, e.g. 256,128 (0: the features')");
  s.add_for(method, "projector-batch-norm", &c.projector_batch_norm, "batch norm after the head's hidden layers");
}

static void check_sizes(const char* flag, const std::vector<int64_t>& sizes) {
  check(!sizes.empty(), std::string("--") + flag + " needs at least the output size");
  for (const int64_t size : sizes) check_range<int64_t>(flag, size, 0, 65536);
}

void check_projector(const TrainConfig& c) { check_sizes("projector", c.projector); }

void check_predictor(const TrainConfig& c) {
  check_sizes("predictor", c.predictor);
  const bool one_size = c.predictor.back() == c.projector.back();
  // 0 is the features' size, which the method knows.
  check(one_size || c.predictor.back() == 0 || c.projector.back() == 0,
        "--predictor and --projector must end in one size, got " + std::to_string(c.predictor.back()) + " and " +
            std::to_string(c.projector.back()));
}

void check_batch_of_two(const TrainConfig& c, const char* why) {
  check(c.batch_size > 1, std::string("--batch-size 1 ") + why + "; use 2 or more (256 is usual)");
}

void small_budget(TrainConfig& c) {
  c.encoder = "small_cnn";  // beats every ResNet at this budget: more epochs in the same time
  c.augmentation = "fashion-mnist-demo";
  c.image_size = 28;
  c.channels = 1;
  c.epochs = 14;
  c.batch_size = 256;
  c.optimizer = "adamw";
  c.lr = 2e-3;
  c.base_lr.reset();
  c.weight_decay = 1e-2;
  c.decay_all = false;
  c.warmup_epochs.reset();
  c.warmup_fraction = 0.1;
}

void small_budget_colour(TrainConfig& c) {
  c.augmentation = "simclr";
  c.image_size = 0;
  c.channels = 0;
  c.epochs = 14;  // bounded by time: below 6 minutes of CIFAR-10 on 2 cores; the loss is still falling
}

void small_budget_folder(TrainConfig& c) {
  c.image_size = 64;
  c.batch_size = 64;  // a batch must not be most of the data, or every step sees the same negatives
  c.lr = 1e-3;        // half: about the square-root scaling from batches of 256 to 64
  c.epochs = 100;
}

void cifar_resnet(TrainConfig& c) {
  c.encoder = "resnet18";
  c.image_size = 32;
  c.channels = 3;
  c.batch_size = 512;
  c.optimizer = "sgd";
  c.sgd_momentum = 0.9;
  c.lr.reset();
  c.base_lr = 0.06;
  c.weight_decay = 5e-4;
  c.decay_all = true;
  c.warmup_epochs.reset();
  c.warmup_fraction = 0;
}

void stl10_images(TrainConfig& c) {
  c.split = "unlabeled";
  c.image_size = 96;
  c.channels = 3;
}

void stl10_htdt(TrainConfig& c) {
  stl10_images(c);
  c.encoder = "resnet18";
  c.augmentation = "htdt";
  c.batch_size = 512;
  c.epochs = 2000;
  c.optimizer = "adamw";
  c.lr = 2e-3;
  c.weight_decay = 1e-6;  // Adam's L2 there, decoupled here
  c.decay_all = true;
  c.warmup_fraction.reset();
  c.warmup_epochs = 2.5;  // 500 steps
  c.schedule = "steps";
  c.lr_drop_epochs = {1950, 1975};
  c.lr_drop_factor = 0.2;
}

void imagenet_resnet(TrainConfig& c) {
  c.encoder = "resnet50";
  c.image_size = 224;
  c.channels = 3;
  c.sgd_momentum = 0.9;
  c.lr.reset();
}

// The official SimCLR (tf2/resnet.py: init_zero), BYOL (Haiku's ResNet) and MoCo v3 (main_moco.py) all start residual
// branches at nothing.
void imagenet_lars(TrainConfig& c) {
  imagenet_resnet(c);
  c.zero_init_residual = true;
  c.batch_size = 4096;
  c.optimizer = "lars";
  c.weight_decay = 1e-6;
  c.decay_all = false;
  c.warmup_fraction.reset();
  c.warmup_epochs = 10;
}

std::vector<Recipe> usual_recipes(void (*fashion_mnist_demo)(TrainConfig&), void (*small_images)(TrainConfig&),
                                  void (*folder)(TrainConfig&), const std::vector<Recipe>& own) {
  std::vector<Recipe> all = {
      {"fashion-mnist-demo", "Fashion-MNIST in a few minutes on two cores", fashion_mnist_demo},
      {"small-images", "images up to 64 pixels, quickly (the default for them)", small_images},
      {"folder", "a folder of photographs at 64 pixels (the default for larger images)", folder}};
  all.insert(all.end(), own.begin(), own.end());
  return all;
}

}  // namespace tacit::ssl
