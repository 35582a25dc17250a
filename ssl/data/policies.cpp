// The augmentation policies by name.
#include "ssl/data/augment.h"
#include "tensor/error.h"

namespace tacit::ssl {

namespace {

constexpr int64_t kSmall = 64;  // images up to this size get the weaker colours and no blur, as SimCLR on CIFAR

/// Gray: Fashion-MNIST's mean and std; colour: ImageNet's.
void normalise(ViewPolicy& p, int64_t channels) {
  p.mean = channels == 1 ? std::vector<float>{.2860f} : std::vector<float>{.485f, .456f, .406f};
  p.std = channels == 1 ? std::vector<float>{.3530f} : std::vector<float>{.229f, .224f, .225f};
}

void color_jitter(ViewPolicy& p, double brightness, double contrast, double saturation, double hue, double chance) {
  p.jitter = chance;
  p.brightness = brightness;
  p.contrast = contrast;
  p.saturation = saturation;
  p.hue = hue;
}

void none(ViewPolicy&, int64_t) {}

/// Chen et al. 2020, appendix A, with ImageNet's normalisation added.
void simclr(ViewPolicy& p, int64_t size) {
  const double strength = size <= kSmall ? 0.5 : 1.0;
  p.crop = true;
  p.flip = 0.5;
  color_jitter(p, 0.8 * strength, 0.8 * strength, 0.8 * strength, 0.2 * strength, 0.8);
  p.grayscale = 0.2;
  p.blur = size <= kSmall ? 0 : 0.5;
}

/// github.com/dkobak/simclr-cifar10.
void simclr_cifar(ViewPolicy& p, int64_t) {
  p.crop = true;
  p.crop_min_area = 0.2;
  p.flip = 0.5;
  color_jitter(p, 0.4, 0.4, 0.4, 0.1, 0.8);
  p.grayscale = 0.1;
}

/// For gray 28 x 28 pictures of clothes: brightness, contrast and gamma decide, geometry hardly matters.
void fashion_mnist_demo(ViewPolicy& p, int64_t) {
  p.crop = true;
  p.crop_clamp = true;
  p.crop_min_area = 0.2;
  p.antialias = false;
  p.flip = 0.5;
  p.gamma = 1;
  p.gamma_strength = 1.2;
  color_jitter(p, 0.8, 0.8, 0, 0, 1);
  p.jitter_random_order = false;
}

/// What a supervised classifier is trained with.
void supervised(ViewPolicy& p, int64_t) {
  p.crop = true;
  p.crop_clamp = true;
  p.crop_min_area = 0.5;
  p.flip = 0.5;
}

struct Named {
  const char* name;
  void (*set)(ViewPolicy&, int64_t size);
};
constexpr Named kPolicies[] = {{"simclr", simclr},
                               {"simclr-cifar", simclr_cifar},
                               {"fashion-mnist-demo", fashion_mnist_demo},
                               {"supervised", supervised},
                               {"none", none}};

}  // namespace

std::vector<std::string> augmentation_names() {
  std::vector<std::string> names;
  for (const Named& policy : kPolicies) names.emplace_back(policy.name);
  return names;
}

std::vector<ViewPolicy> augmentation(const std::string& name, int64_t image_size, int64_t channels) {
  TACIT_CHECK(image_size > 0, "[augmentation] the image size must be positive, got ", image_size);
  TACIT_CHECK(channels == 1 || channels == 3, "[augmentation] the number of channels must be 1 or 3, got ", channels);
  for (const Named& policy : kPolicies) {
    if (name != policy.name) continue;
    ViewPolicy view;
    policy.set(view, image_size);
    normalise(view, channels);
    return {view, view};
  }
  std::string known;
  for (const std::string& each : augmentation_names()) known += (known.empty() ? "" : ", ") + each;
  detail::fail("--augmentation: unknown value '", name, "'; known: ", known);
}

}  // namespace tacit::ssl
