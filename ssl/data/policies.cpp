// The named augmentation policies. Adding one: write a function, add a line to the table.
#include "ssl/data/augment.h"
#include "tensor/error.h"

namespace tacit::ssl {

namespace {

/// Mean and standard deviation of the pixels: ImageNet's for colour; Fashion-MNIST's for gray.
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

/// SimCLR's: colour jitter of strength 1 and blur for large images; strength 0.5, no blur and no tiny crops up to 64
/// pixels, as is usual for CIFAR (github.com/google-research/simclr; lightly's CIFAR benchmark).
std::vector<ViewPolicy> simclr(int64_t size, int64_t channels) {
  const bool small = size <= 64;
  const double strength = small ? 0.5 : 1;
  ViewPolicy p = normalised(channels);
  p.crop = true;
  p.crop_min_area = small ? 0.2 : 0.08;
  p.flip = 0.5;
  p.jitter = 0.8;
  p.brightness = p.contrast = 0.8 * strength;
  if (channels == 3) {
    p.saturation = 0.8 * strength;
    p.hue = 0.2 * strength;
    p.grayscale = 0.2;
  }
  p.blur = small ? 0 : 0.5;
  return {p, p};
}

/// Strong gamma, brightness and contrast instead of colour; measured to matter most on Fashion-MNIST.
std::vector<ViewPolicy> fashion_mnist_demo(int64_t, int64_t channels) {
  ViewPolicy p = normalised(channels);
  p.crop = p.crop_clamp = true;
  p.antialias = false;
  p.crop_min_area = 0.2;
  p.flip = 0.5;
  p.gamma = 1;
  p.gamma_strength = 1.2;
  p.jitter = 1;
  p.jitter_random_order = false;
  p.brightness = p.contrast = 0.8;
  return {p, p};
}

/// Mild crops and flips, for training with labels.
std::vector<ViewPolicy> supervised(int64_t, int64_t channels) {
  ViewPolicy p = normalised(channels);
  p.crop = p.crop_clamp = true;
  p.crop_min_area = 0.5;
  p.flip = 0.5;
  return {p};
}

std::vector<ViewPolicy> none(int64_t, int64_t channels) { return {normalised(channels), normalised(channels)}; }

struct Row {
  const char* name;
  std::vector<ViewPolicy> (*make)(int64_t size, int64_t channels);
};
constexpr Row kPolicies[] = {
    {"simclr", simclr}, {"fashion-mnist-demo", fashion_mnist_demo}, {"supervised", supervised}, {"none", none}};

}  // namespace

std::vector<ViewPolicy> augmentation(const std::string& name, int64_t image_size, int64_t channels) {
  TACIT_CHECK(channels == 1 || channels == 3, "[augmentation] channels must be 1 or 3, got ", channels);
  std::string known;
  for (const Row& row : kPolicies) {
    if (name == row.name) return row.make(image_size, channels);
    known += (known.empty() ? "" : ", ") + std::string(row.name);
  }
  throw Error("[augmentation] unknown policy '" + name + "'; known: " + known);
}

std::vector<std::string> augmentation_names() {
  std::vector<std::string> names;
  for (const Row& row : kPolicies) names.emplace_back(row.name);
  return names;
}

}  // namespace tacit::ssl
