// MoCo on the command line: its settings, its recipes, and how it is made from a configuration.
#include "ssl/methods/moco.h"

#include <functional>

#include "nn/norm.h"
#include "ssl/train/entries/shared.h"

namespace tacit::ssl {

namespace {
namespace moco {

/// The small budget's network and optimiser with MoCo's head and queue. A first setting, measured once in PyTorch
/// (kNN 87.2 %, linear 87.9 % after 10 epochs of Fashion-MNIST).
void fashion_mnist_demo(TrainConfig& c) {
  small_budget(c);
  c.variant = "v2";
  c.temperature = 0.1;
  c.queue_size = 4096;
  c.momentum = 0.99;
  c.projector = {256, 128};
  c.projector_batch_norm = true;
  c.predictor = {256, 128};  // for --variant v3
  c.epochs = 16;
}

void small_images(TrainConfig& c) {
  fashion_mnist_demo(c);
  small_budget_colour(c);
  c.temperature = 0.2;
}

void folder(TrainConfig& c) {
  small_images(c);
  small_budget_folder(c);
  c.queue_size = 1024;  // folders may hold only thousands of images
}

/// The official CIFAR-10 demo (github.com/facebookresearch/moco, branch colab-notebook), 200 epochs: kNN(200) on the
/// projection 82.6 %, with --symmetric 85.3 %. Its cosine moves per epoch, here per step; a group of its split batch
/// norm is every eighth image, here a stretch of the batch, which a shuffled order makes the same.
void cifar10(TrainConfig& c) {
  cifar_resnet(c);
  c.augmentation = "moco-cifar";
  c.variant = "v1";  // one linear layer as head
  c.projector = {128};
  c.predictor = {512, 128};  // for --variant v3
  c.projector_batch_norm = false;
  c.temperature = 0.1;
  c.queue_size = 4096;
  c.momentum = 0.99;
  c.epochs = 200;
  c.base_lr.reset();
  c.lr = 0.06;
}

/// What v2's settings for larger images have in common.
void v2(TrainConfig& c) {
  c.augmentation = "moco-v2";
  c.variant = "v2";
  c.projector_batch_norm = false;
  c.temperature = 0.2;
  c.queue_size = 65536;
  c.batch_size = 256;
  c.weight_decay = 1e-4;
}

/// v2's ImageNet setting (github.com/facebookresearch/moco: --mlp --moco-t 0.2 --aug-plus --cos; lr 0.03 for batches of
/// 256; 67.5 % linear after 200 epochs), for folders of that size. Split batch norm stands for its shuffling over GPUs.
void imagenet(TrainConfig& c) {
  imagenet_resnet(c);
  v2(c);
  c.projector = {0, 128};
  c.predictor = {4096, 128};  // for --variant v3
  c.momentum = 0.999;
  c.epochs = 200;
  c.optimizer = "sgd";
  c.base_lr = 0.03;
  c.decay_all = true;
  c.warmup_epochs.reset();
  c.warmup_fraction = 0;
}

/// STL-10 with v2 as in github.com/untitled-ai/self_supervised (its defaults, model_params.py): ResNet-18 on 96 pixels,
/// hidden layer 512, SGD 0.5 for batches of 256, weight decay 1e-4, temperature .2, 65,536 keys, momentum .996; 320
/// epochs give 85 % by linear probe. It trains on the unlabelled and the training images, here on the unlabelled ones.
/// Its batch norm is over the whole batch, which tells which key belongs to a query; split here. Its jitter and blur
/// are v2's.
void stl10(TrainConfig& c) {
  cifar_resnet(c);
  stl10_images(c);
  v2(c);
  c.projector = {512, 128};
  c.predictor = {512, 128};  // for --variant v3
  c.momentum = 0.996;
  c.epochs = 320;
  c.base_lr = 0.5;
}

/// v3's ResNet-50 setting for 100 epochs (github.com/facebookresearch/moco-v3, CONFIG.md): LARS 0.6 for batches of 256,
/// weight decay 1e-6, temperature 1, heads 4096-256, momentum .99 rising to 1; 68.9 % linear.
void imagenet_v3(TrainConfig& c) {
  imagenet_lars(c);
  c.augmentation = "moco-v3";
  c.variant = "v3";
  c.projector = {4096, 256};
  c.predictor = {4096, 256};
  c.temperature = 1;
  c.momentum = 0.99;
  c.epochs = 100;
  c.base_lr = 0.6;
}

/// v3's ViT-B/16 (CONFIG.md: --optimizer=adamw --lr=1.5e-4 --weight-decay=.1 --epochs=300 --warmup-epochs=40
/// --stop-grad-conv1 --moco-m-cos --moco-t=.2, batches of 4096, crops from .08 on; 76.7 % linear, 83.2 % fine-tuned).
/// The projector has three layers, the predictor two (builder.py); weight decay is on all that is learned. ViT-S/16
/// (73.2 %) differs by the encoder alone, and has twelve heads there, six here. Initial weights are MAE's (there the
/// bound of q, k and v counts each as a layer of its own).
void imagenet_v3_vit(TrainConfig& c) {
  imagenet_v3(c);
  c.zero_init_residual = false;  // of ResNets
  c.encoder = "vit_base";
  c.patch_size = 16;
  c.pool = "cls";
  c.augmentation = "moco-v3-vit";
  c.projector = {4096, 4096, 256};
  c.temperature = 0.2;
  c.optimizer = "adamw";
  c.base_lr = 1.5e-4;
  c.weight_decay = 0.1;
  c.decay_all = true;
  c.epochs = 300;
  c.warmup_epochs = 40;
}

/// v3 keeps a ViT's patch embedding unless it is told not to. Its keys are not shuffled: split batch norm would tell
/// which of them belongs to a query, so the whole batch is normalised.
void settle(TrainConfig& c) {
  if (!c.bn_splits) c.bn_splits = c.variant == "v3" ? 0 : 8;
  if (!c.stop_grad_conv1 && c.variant == "v3" && nn::is_vit(c.encoder)) c.stop_grad_conv1 = true;
}

/// A run's configuration without a word on it is of a time when all layers learned.
bool keeps_patches(const TrainConfig& c) { return c.stop_grad_conv1.value_or(false); }

void add_settings(Settings& s, TrainConfig& c) {
  s.add_for("moco", "variant", &c.variant, "v1, v2 (a queue; they differ in head and views) or v3 (no queue)");
  s.add_for("moco", "temperature", &c.temperature, "of the contrastive loss");
  s.add_for("moco", "queue-size", &c.queue_size, "v1, v2: keys kept as negatives; a multiple of the keys a step makes");
  s.add_for("moco", "momentum", &c.momentum, "of the key encoder (v3: rises to 1)");
  s.add_for("moco", "symmetric", &c.symmetric, "both views are queries and keys (v3 always is)");
  s.add_for("moco", "bn-splits", &c.bn_splits,
            "v1, v2: batch norm over this many parts of the batch (0: over all of it)");
  add_projector_settings(s, c, "moco");
  s.add_for("moco", "predictor", &c.predictor, "hidden and output sizes of the predictor (MoCo: of v3)");
  s.add_for("moco", "stop-grad-conv1", &c.stop_grad_conv1, "a ViT's patch embedding stays random, against instability");
  s.show_default("stop-grad-conv1", "true for v3 with a ViT");
  s.show_default("bn-splits", "8; v3: 0");
  const auto v3 = [&c] { return c.variant == "v3"; };
  s.used_if("moco", "queue-size", std::not_fn(v3),
            "--queue-size is of --variant v1 and v2; --variant v3 has no queue, its negatives are the batch");
  s.used_if(
      "moco", "bn-splits", [&c] { return c.variant != "v3" || c.bn_splits.value_or(0) == 0; },
      "--bn-splits is of --variant v1 and v2, whose keys are shuffled; v3's are not, so it normalises the whole batch");
  s.used_if("moco", "predictor", v3, "--predictor is of --variant v3; v1 and v2 have no predictor");
  s.used_if(
      "moco", "symmetric", [&c] { return c.variant != "v3" || c.symmetric; },
      "--symmetric=false contradicts --variant v3, which always is symmetric");
  s.used_if(
      "moco", "projector-batch-norm", [&c] { return c.variant != "v3" || c.projector_batch_norm; },
      "--projector-batch-norm=false contradicts --variant v3, whose heads always have batch norm");
}

void check_settings(const TrainConfig& c) {
  check_choice("variant", c.variant, {"v1", "v2", "v3"});
  check_range("temperature", c.temperature, 1e-4, 1e4);
  check_range("momentum", c.momentum, 0., 1.);
  const int64_t splits = c.bn_splits.value_or(0);
  check_range<int64_t>("bn-splits", splits, 0, 1 << 20);
  const int64_t group = c.batch_size / nn::split_groups(c.batch_size, splits);
  check(group > 1 || c.batch_size == 1, "--bn-splits " + std::to_string(splits) + " cuts --batch-size " +
                                            std::to_string(c.batch_size) +
                                            " into groups of one image, which cannot be "
                                            "normalised; use fewer splits");
  check_projector(c);
  check_batch_of_two(c, "cannot be normalised");
  check(!keeps_patches(c) || nn::is_vit(c.encoder),
        "--stop-grad-conv1 keeps a ViT's patch embedding as it is; --encoder " + c.encoder + " has none");
  if (c.variant == "v3") {
    check_predictor(c);
    return;
  }
  check_range<int64_t>("queue-size", c.queue_size, 1, int64_t{1} << 24);
  const int64_t keys = c.batch_size * (c.symmetric ? 2 : 1);
  check(c.queue_size % keys == 0, "--queue-size " + std::to_string(c.queue_size) + " must be a multiple of the " +
                                      std::to_string(keys) + " keys a step makes (--batch-size " +
                                      std::to_string(c.batch_size) + (c.symmetric ? ", --symmetric)" : ")"));
}

std::unique_ptr<Method> make(const TrainConfig& c) {
  return std::make_unique<MoCo>(nn::make_encoder(c.encoder_options()),
                                MoCoOptions{.variant = c.variant,
                                            .temperature = c.temperature,
                                            .queue_size = c.queue_size,
                                            .momentum = c.momentum,
                                            .symmetric = c.symmetric,
                                            .projector = c.projector,
                                            .projector_batch_norm = c.projector_batch_norm,
                                            .predictor = c.predictor,
                                            .predictor_last_batch_norm = nn::is_vit(c.encoder),
                                            .stop_grad_conv1 = keeps_patches(c),
                                            .bn_splits = c.bn_splits.value_or(0),
                                            .seed = static_cast<uint64_t>(c.seed)});
}

}  // namespace moco
}  // namespace

MethodEntry moco_entry() {
  using namespace moco;
  MethodEntry entry{
      "moco",
      "finds the other view of an image, as a slow copy sees it, among a queue of older ones (He et al. 2020)",
      2,
      add_settings,
      check_settings,
      make,
      usual_recipes(fashion_mnist_demo, small_images, folder,
                    {{"cifar10", "the official CIFAR-10 demo, ResNet-18, 200 epochs: days on a CPU", cifar10},
                     {"moco-cifar10-demo", "the same by the name of its notebook", cifar10},
                     {"stl10", "v2 on STL-10's unlabelled images, ResNet-18, 320 epochs: days on a GPU", stl10},
                     {"imagenet", "v2's ImageNet setting for folders of that size", imagenet},
                     {"imagenet-v3", "v3's ResNet-50 setting for folders of that size", imagenet_v3},
                     {"imagenet-v3-vit", "v3's ViT-B/16 setting for folders of that size", imagenet_v3_vit}}),
      "--variant v3"};
  entry.settle = settle;
  return entry;
}

}  // namespace tacit::ssl
