// Rotation on the command line: its recipes, and how it is made from a configuration. It has no settings of its own.
#include "ssl/methods/rotation.h"

#include "ssl/train/entries/shared.h"

namespace tacit::ssl {

namespace {
namespace rotation {

/// The small budget's network and optimiser. Untuned: batches of 128 images, as published, are the 512 views of the
/// other methods' small batches, and half the epochs take their time.
void fashion_mnist_demo(TrainConfig& c) {
  small_budget(c);
  c.augmentation = "rotation";
  c.batch_size = 128;
  c.epochs = 7;
}

void small_images(TrainConfig& c) {
  fashion_mnist_demo(c);
  small_budget_colour(c);
  c.augmentation = "rotation";
  c.epochs = 9;
}

void folder(TrainConfig& c) {
  small_images(c);
  small_budget_folder(c);
  c.epochs = 50;
}

/// The official CIFAR-10 setting (github.com/gidariss/FeatureLearningRotNet, config/CIFAR10_RotNet_NIN4blocks.py):
/// network in network of 4 blocks, 128 x 4 images a step, SGD with Nesterov's momentum, the rate times .2 after 60, 120
/// and 160 of 200 epochs, weight decay on everything.
void cifar10(TrainConfig& c) {
  cifar_resnet(c);
  c.encoder = "nin";
  c.augmentation = "rotation";
  c.epochs = 200;
  c.batch_size = 128;
  c.nesterov = true;
  c.base_lr.reset();
  c.lr = 0.1;
  c.schedule = "steps";
  c.lr_drop_epochs = {60, 120, 160};
  c.lr_drop_factor = 0.2;
}

/// No paper trains rotation on STL-10: the CIFAR-10 recipe at 96 pixels with a ResNet-18, since network in network
/// keeps 192 channels at full resolution, nine times as many numbers an image as at 32 pixels.
void stl10(TrainConfig& c) {
  cifar10(c);
  stl10_images(c);
  c.encoder = "resnet18";
}

/// VISSL's ResNet-50 (configs/config/pretrain/rotnet/rotnet_8gpu_resnet.yaml; linear 48.2 % after 105 epochs): SGD, lr
/// 0.1 for 256 images, divided by 10 after 30, 60, 90 and 100 epochs. There each image is turned once at random,
/// before a random resized crop; here 64 images make those 256, and crops are RotNet's own. Its decay leaves out norms,
/// not biases.
void imagenet(TrainConfig& c) {
  imagenet_resnet(c);
  c.augmentation = "rotation";
  c.epochs = 105;
  c.batch_size = 64;
  c.optimizer = "sgd";
  c.nesterov = false;
  c.base_lr.reset();
  c.lr = 0.1;
  c.weight_decay = 1e-4;
  c.decay_all = false;
  c.warmup_epochs.reset();
  c.warmup_fraction = 0;
  c.schedule = "steps";
  c.lr_drop_epochs = {30, 60, 90, 100};
  c.lr_drop_factor = 0.1;
}

void add_settings(Settings&, TrainConfig&) {}

std::unique_ptr<Method> make(const TrainConfig& c) {
  return std::make_unique<Rotation>(nn::make_encoder(c.encoder_options()),
                                    RotationOptions{.seed = static_cast<uint64_t>(c.seed)});
}

/// One of the four turns.
ShownViews shown(const TrainConfig&) {
  return [](const Tensor& views, int64_t step) {
    const Shape& s = views.shape();
    return four_rotations(views).reshape({s[0], 4, s[1], s[2], s[3]}).select(1, step % 4);
  };
}

}  // namespace rotation
}  // namespace

MethodEntry rotation_entry() {
  using namespace rotation;
  MethodEntry entry{
      "rotation",
      "tells by how many quarters each image was turned (Gidaris et al. 2018)",
      1,
      add_settings,
      nullptr,
      make,
      usual_recipes(
          fashion_mnist_demo, small_images, folder,
          {{"cifar10", "the official CIFAR-10 setting, network in network, 200 epochs: days on a CPU", cifar10},
           {"stl10", "STL-10's unlabelled images, ResNet-18, 200 epochs: days on a GPU", stl10},
           {"imagenet", "VISSL's ResNet-50 for folders of ImageNet's size", imagenet}}),
      "--encoder nin --schedule steps --lr-drop-epochs 20,40"};
  entry.shown = shown;
  return entry;
}

}  // namespace tacit::ssl
