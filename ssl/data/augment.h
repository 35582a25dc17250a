// Augmentation in two steps: draw_view() turns random numbers into parameters, apply_view() is a pure function of an
// image and those parameters. So tests, the CPU and the GPU (device_views.h) share the first and can be compared in the
// second.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "ssl/data/image_source.h"
#include "ssl/data/resample.h"
#include "tensor/random.h"

namespace tacit::ssl {

/// The distribution that one view's parameters are drawn from. Probabilities 0 switch a step off.
struct ViewPolicy {
  bool crop = false;                                          ///< random resized crop
  double crop_min_area = 0.08, crop_max_area = 1.0;           ///< fraction of the image's area
  double crop_min_ratio = 3.0 / 4, crop_max_ratio = 4.0 / 3;  ///< width / height, log-uniform
  double crop_side = 0;     ///< > 0: instead a square of this fraction of the shorter side, anywhere in the image
  bool crop_clamp = false;  ///< sides clamped to the image instead of ten attempts (the Fashion-MNIST recipe)
  bool antialias = true;    ///< widen the filter when shrinking
  Filter filter = Filter::Bilinear;
  int64_t pad = 0;  ///< shift by up to so many pixels of the view each way, black beyond the edge: a random crop of the
                    ///< view's size from the padded image
  double flip = 0;
  double gamma = 0, gamma_strength = 0;                          ///< x^exp(U(-s, s)) with probability gamma, x >= 1e-4
  double jitter = 0;                                             ///< probability of the colour jitter below
  double brightness = 0, contrast = 0, saturation = 0, hue = 0;  ///< torchvision's ColorJitter strengths
  bool jitter_random_order = true;                               ///< else brightness, contrast, saturation, hue
  double grayscale = 0;
  bool gray_first = false;                                      ///< before the colour jitter instead of after it
  double blur = 0, blur_min_sigma = 0.1, blur_max_sigma = 2.0;  ///< kernel: size / 10, made odd
  double solarize = 0;
  /// Random erasing (Zhong et al., AAAI 2020, with timm's numbers): a box of this area and shape (height / width,
  /// log-uniform) is overwritten after the normalisation: each value with N(0, 1), or all with 0, the mean.
  double erase = 0, erase_min_area = 0.02, erase_max_area = 1.0 / 3, erase_min_ratio = 0.3, erase_max_ratio = 1 / 0.3;
  bool erase_noise = true;
  std::vector<float> mean, std;  ///< per channel, applied last; empty: pixels stay in [0, 1]
  /// The view is made in RGB and becomes one channel, (L - 50) / 50 of CIE Lab, instead of being normalised.
  bool lightness = false;
};

/// A named list of views ("simclr", "moco-v2", "byol", "none", "supervised", …; policies.cpp has them all, each with
/// its source) for images of this size and channels: as many views as the method takes. Throws Error listing the known
/// names.
std::vector<ViewPolicy> augmentation(const std::string& name, int64_t image_size, int64_t channels);
/// The names that augmentation() takes.
std::vector<std::string> augmentation_names();

/// What happens to one image for one view.
struct ViewParameters {
  double top = 0, left = 0, height = 0, width = 0;  ///< crop box in pixels of the source
  int64_t down = 0, right = 0;                      ///< shift of the view in its own pixels, before the flip
  bool flip = false;
  double gamma = 1;  ///< exponent; 1 = off
  bool jitter = false;
  std::array<int, 4> order{0, 1, 2, 3};  ///< of brightness, contrast, saturation, hue
  double brightness = 1, contrast = 1, saturation = 1, hue = 0;
  bool gray = false;
  double sigma = 0;  ///< of the blur; 0 = off
  bool solarize = false;
  double erase_height = 0, erase_width = 0;  ///< fractions of the view's side; 0 = off
  double erase_top = 0, erase_left = 0;      ///< fractions of the room that the box leaves
  uint64_t erase_seed = 0;                   ///< of the noise
};
/// Draws them for an image of this size.
ViewParameters draw_view(const ViewPolicy&, int64_t height, int64_t width, Random&);

/// The view as (size, size, channels) f32, normalised by the policy's mean and std. `channels` 1 or 3;
/// 1 where the policy makes lightness.
void apply_view(const Image&, const ViewParameters&, const ViewPolicy&, int64_t size, int64_t channels, float* out);

/// Of a view that erases: the box in its pixels, with sides below the view's as timm demands, and the random stream of
/// its noise, whose seed is the view's.
struct ErasedPart {
  int64_t top = 0, left = 0, height = 0, width = 0;
  uint64_t stream = 0;
};
ErasedPart erased_part(const ViewParameters&, int64_t size);
/// Throws Error unless mean and std are of so many channels.
void check_normalisation(const ViewPolicy&, int64_t channels);

/// The plain view for evaluation: resized (shorter side to `size`, centre crop; identity when it fits), normalised.
void plain_view(const Image&, const ViewPolicy&, int64_t size, int64_t channels, float* out);

}  // namespace tacit::ssl
