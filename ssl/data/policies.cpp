// The named augmentation policies, each with its source. Adding one: write a function, add a line to the table.
// What all share: on one channel the steps that need colour (saturation, hue, grayscale) are left out; up to 64 pixels
// an image is "small". Pixels are normalised by ImageNet's mean and deviation, or Fashion-MNIST's on one channel, where
// a policy does not say otherwise.
#include "ssl/data/augment.h"
#include "tensor/error.h"
#include "tensor/join.h"

namespace tacit::ssl {

namespace {

using Views = std::vector<ViewPolicy>;

bool is_small(int64_t size) { return size <= 64; }

ViewPolicy normalised(int64_t channels) {
  ViewPolicy p;
  if (channels == 1) {
    p.mean = {0.2860f};
    p.std = {0.3530f};
  } else {
    p.mean = {0.485f, 0.456f, 0.406f};
    p.std = {0.229f, 0.224f, 0.225f};
  }
  return p;
}

/// Random resized crop from this fraction of the area on, flip with probability .5.
ViewPolicy cropped(int64_t channels, double min_area) {
  ViewPolicy p = normalised(channels);
  p.crop = true;
  p.crop_min_area = min_area;
  p.flip = 0.5;
  return p;
}

/// ColorJitter(brightness and contrast, the same; saturation; hue) and grayscale, with their probabilities.
void add_colour(ViewPolicy& p, int64_t channels, double probability, double strength, double saturation, double hue,
                double grayscale) {
  p.jitter = probability;
  p.brightness = p.contrast = strength;
  if (channels == 1) return;
  p.saturation = saturation;
  p.hue = hue;
  p.grayscale = grayscale;
}

/// Chen et al. 2020, "A Simple Framework for Contrastive Learning of Visual Representations" (google-research/simclr,
/// data_util.py): colour jitter of strength 1 and blur for large images; strength 0.5, no blur and no tiny crops for
/// small ones, as is usual for CIFAR. Normalised and bilinear, as in lightly; the official code leaves pixels in [0, 1]
/// and resizes bicubically.
Views simclr(int64_t size, int64_t channels) {
  const bool small = is_small(size);
  const double strength = small ? 0.5 : 1;
  ViewPolicy p = cropped(channels, small ? 0.2 : 0.08);
  add_colour(p, channels, 0.8, 0.8 * strength, 0.8 * strength, 0.2 * strength, 0.2);
  p.blur = small ? 0 : 0.5;
  return {p, p};
}

/// Ermolov et al. 2021, "Whitening for Self-Supervised Representation Learning" (htdt/self-supervised,
/// datasets/transforms.py, stl10.py): milder colours, bicubic, STL-10's statistics. Colours change before the crop
/// there, here after it.
Views htdt(int64_t, int64_t channels) {
  ViewPolicy p = cropped(channels, 0.2);
  add_colour(p, channels, 0.8, 0.4, 0.4, 0.1, 0.1);
  p.filter = Filter::Bicubic;
  if (channels == 3) {
    p.mean = {0.43f, 0.42f, 0.39f};
    p.std = {0.27f, 0.26f, 0.27f};
  }
  return {p, p};
}

/// github.com/dkobak/simclr-cifar10: the same colours, bilinear, and pixels stay in [0, 1].
Views dkobak(int64_t size, int64_t channels) {
  Views views = htdt(size, channels);
  for (ViewPolicy& p : views) {
    p.filter = Filter::Bilinear;
    p.mean.clear();
    p.std.clear();
  }
  return views;
}

/// He et al. 2020, "Momentum Contrast" (facebookresearch/moco, main_moco.py without --aug-plus): gray comes before the
/// jitter, which is always on. The flip, last there, commutes with both.
Views moco_v1(int64_t, int64_t channels) {
  ViewPolicy p = cropped(channels, 0.2);
  add_colour(p, channels, 1, 0.4, 0.4, 0.4, 0.2);
  p.gray_first = true;
  return {p, p};
}

/// Chen et al. 2020, "Improved Baselines with Momentum Contrastive Learning" (main_moco.py --aug-plus); SimSiam's too.
Views moco_v2(int64_t, int64_t channels) {
  ViewPolicy p = cropped(channels, 0.2);
  add_colour(p, channels, 0.8, 0.4, 0.4, 0.1, 0.2);
  p.blur = 0.5;
  return {p, p};
}

/// MoCo's official CIFAR-10 demo (facebookresearch/moco, branch colab-notebook), with its deviations: means of single
/// images' ones, smaller than the data set's (.2470, .2435, .2616).
Views moco_cifar(int64_t, int64_t channels) {
  ViewPolicy p = cropped(channels, 0.08);
  add_colour(p, channels, 0.8, 0.4, 0.4, 0.1, 0.2);
  if (channels == 3) {
    p.mean = {0.4914f, 0.4822f, 0.4465f};
    p.std = {0.2023f, 0.1994f, 0.2010f};
  }
  return {p, p};
}

/// The two views that BYOL brought in: one always blurred, the other seldom, but solarized at times. Small images are
/// not blurred, as in solo-learn's asymmetric CIFAR policy.
Views asymmetric(int64_t size, int64_t channels, double min_area) {
  ViewPolicy p = cropped(channels, min_area);
  add_colour(p, channels, 0.8, 0.4, 0.2, 0.1, 0.2);
  Views views = {p, p};
  views[0].blur = is_small(size) ? 0 : 1;
  views[1].blur = is_small(size) ? 0 : 0.1;
  views[1].solarize = 0.2;
  return views;
}

/// Grill et al. 2020, "Bootstrap Your Own Latent" (google-deepmind/deepmind-research, byol/configs); Barlow Twins' and
/// VICReg's official code has the same numbers. Colours are clamped after each step here, once at the end there.
Views byol(int64_t size, int64_t channels) { return asymmetric(size, channels, 0.08); }

/// Chen, Xie, He 2021, "An Empirical Study of Training Self-Supervised Vision Transformers" (moco-v3/main_moco.py):
/// crops from .2 of the area for ResNets, from .08 for ViTs.
Views moco_v3(int64_t size, int64_t channels) { return asymmetric(size, channels, 0.2); }
Views moco_v3_vit(int64_t size, int64_t channels) { return asymmetric(size, channels, 0.08); }

/// solo-learn's for CIFAR (vturrisi/solo-learn, scripts/pretrain/cifar/augmentations): symmetric.yaml and
/// symmetric_weak.yaml; asymmetric.yaml is "byol" on small images; and reconstruction.yaml, one view.
Views solo(int64_t channels, double strength, double hue) {
  ViewPolicy p = cropped(channels, 0.08);
  add_colour(p, channels, 0.8, strength, strength, hue, 0.2);
  p.blur = 0.5;
  return {p, p};
}
Views solo_symmetric(int64_t, int64_t channels) { return solo(channels, 0.8, 0.2); }
Views solo_weak(int64_t, int64_t channels) { return solo(channels, 0.4, 0.1); }
Views solo_reconstruction(int64_t, int64_t channels) { return {cropped(channels, 0.08)}; }

/// VICReg as lightly has it (lightly/transforms/vicreg_transform.py): both views alike.
Views vicreg_lightly(int64_t, int64_t channels) {
  ViewPolicy p = cropped(channels, 0.08);
  add_colour(p, channels, 0.8, 0.4, 0.2, 0.1, 0.2);
  p.blur = 0.5;
  p.solarize = 0.1;
  return {p, p};
}

/// Assran et al. 2023, "Self-Supervised Learning from Images with a Joint-Embedding Predictive Architecture"
/// (facebookresearch/ijepa, configs/in1k_vith14_ep300.yaml): crops alone. One view.
Views ijepa(int64_t, int64_t channels) {
  ViewPolicy p = cropped(channels, 0.3);
  p.flip = 0;
  return {p};
}

/// He et al. 2021, "Masked Autoencoders" (facebookresearch/mae, main_pretrain.py): bicubic crops and flips, one view.
Views mae(int64_t, int64_t channels) {
  ViewPolicy p = cropped(channels, 0.2);
  p.filter = Filter::Bicubic;
  return {p};
}

/// A square of fixed size anywhere in a large image: "resize the shorter side to `whole`, crop `part`"; a shift by up
/// to four pixels (padding 4) for small ones; and flips.
ViewPolicy placed(int64_t size, int64_t channels, double part, double whole) {
  ViewPolicy p = normalised(channels);
  p.flip = 0.5;
  if (is_small(size)) {
    p.pad = 4;
  } else {
    p.crop = true;
    p.crop_side = part / whole;
  }
  return p;
}

/// Gidaris et al. 2018, "Unsupervised Representation Learning by Predicting Image Rotations"
/// (gidariss/FeatureLearningRotNet, dataloader.py): padding 4 and CIFAR-10's statistics for small images, 224 of 256
/// pixels for large ones. One view; the rotations are the method's, after this.
Views rotation(int64_t size, int64_t channels) {
  ViewPolicy p = placed(size, channels, 224, 256);
  if (is_small(size) && channels == 3) {
    p.mean = {125.3f / 255, 123.0f / 255, 113.9f / 255};
    p.std = {63.0f / 255, 62.1f / 255, 66.7f / 255};
  }
  return {p};
}

/// Noroozi & Favaro 2016, "Unsupervised Learning of Visual Representations by Solving Jigsaw Puzzles", as VISSL trains
/// it (configs/config/pretrain/jigsaw): flips and gray with probability .66 against chromatic shortcuts; no colour
/// jitter. One view, the whole square; gap and jitter of the tiles are the method's.
Views jigsaw(int64_t, int64_t channels) {
  ViewPolicy p = normalised(channels);
  p.flip = 0.5;
  p.grayscale = channels == 3 ? 0.66 : 0;
  return {p};
}

/// Zhang, Isola, Efros 2016, "Colorful Image Colorization" (richzhang/colorization, caffe_traininglayers.py and the
/// solver's crops of 176 of 256 pixels, mirrored). One view in [0, 1]: the method itself turns it into Lab.
Views colorization(int64_t size, int64_t channels) {
  ViewPolicy p = placed(size, channels, 176, 256);
  p.mean.clear();
  p.std.clear();
  return {p};
}

/// tacit's own: strong gamma, brightness and contrast instead of colour; measured to matter most on Fashion-MNIST.
Views fashion_mnist_demo(int64_t, int64_t channels) {
  ViewPolicy p = cropped(channels, 0.2);
  p.crop_clamp = true;
  p.antialias = false;
  p.gamma = 1;
  p.gamma_strength = 1.2;
  p.jitter = 1;
  p.jitter_random_order = false;
  p.brightness = p.contrast = 0.8;
  return {p, p};
}

/// tacit's own: mild crops and flips, for training with labels.
Views supervised(int64_t, int64_t channels) {
  ViewPolicy p = cropped(channels, 0.5);
  p.crop_clamp = true;
  return {p};
}

/// The plain image twice, so that a run can be repeated in another framework.
Views none(int64_t, int64_t channels) { return {normalised(channels), normalised(channels)}; }

struct Row {
  const char* name;
  Views (*make)(int64_t size, int64_t channels);
};
constexpr Row kPolicies[] = {{"simclr", simclr},
                             {"moco-v1", moco_v1},
                             {"moco-v2", moco_v2},
                             {"moco-v3", moco_v3},
                             {"moco-v3-vit", moco_v3_vit},
                             {"moco-cifar", moco_cifar},
                             {"byol", byol},
                             {"barlow", byol},
                             {"vicreg", byol},
                             {"simsiam", moco_v2},
                             {"dkobak", dkobak},
                             {"htdt", htdt},
                             {"solo-symmetric", solo_symmetric},
                             {"solo-asymmetric", byol},
                             {"solo-weak", solo_weak},
                             {"solo-reconstruction", solo_reconstruction},
                             {"vicreg-lightly", vicreg_lightly},
                             {"ijepa", ijepa},
                             {"mae", mae},
                             {"rotation", rotation},
                             {"jigsaw", jigsaw},
                             {"colorization", colorization},
                             {"fashion-mnist-demo", fashion_mnist_demo},
                             {"supervised", supervised},
                             {"none", none}};

}  // namespace

std::vector<ViewPolicy> augmentation(const std::string& name, int64_t image_size, int64_t channels) {
  TACIT_CHECK(channels == 1 || channels == 3, "[augmentation] channels must be 1 or 3, got ", channels);
  for (const Row& row : kPolicies)
    if (name == row.name) return row.make(image_size, channels);
  throw Error("[augmentation] unknown policy '" + name + "'; known: " + join(augmentation_names()));
}

std::vector<std::string> augmentation_names() {
  std::vector<std::string> names;
  for (const Row& row : kPolicies) names.emplace_back(row.name);
  return names;
}

}  // namespace tacit::ssl
