// Drawing the parameters of a view. The order of the draws is part of a run's reproducibility.
#include <algorithm>
#include <cmath>

#include "ssl/data/augment.h"

namespace tacit::ssl {

namespace {

// A square of fixed size anywhere in the image, in whole pixels: torchvision's Resize, then RandomCrop.
void placed_crop(const ViewPolicy& p, int64_t height, int64_t width, Random& random, ViewParameters& view) {
  const auto side = static_cast<double>(std::min(height, width));
  const int64_t size = std::max<int64_t>(1, std::llround(side * std::min(1.0, p.crop_side)));
  view.height = view.width = static_cast<double>(size);
  view.top = static_cast<double>(random.below(static_cast<uint64_t>(height - size + 1)));
  view.left = static_cast<double>(random.below(static_cast<uint64_t>(width - size + 1)));
}

// A box of random area and shape inside the image; continuous sides, cut to the image's (never rejected).
void clamped_crop(const ViewPolicy& p, double height, double width, Random& random, ViewParameters& view) {
  const double area = random.uniform(p.crop_min_area, p.crop_max_area);
  const double ratio = std::exp(random.uniform(std::log(p.crop_min_ratio), std::log(p.crop_max_ratio)));
  view.height = height * std::min(1.0, std::sqrt(area / ratio));
  view.width = width * std::min(1.0, std::sqrt(area * ratio));
  view.top = random.uniform() * (height - view.height);
  view.left = random.uniform() * (width - view.width);
}

// torchvision's RandomResizedCrop.get_params: ten attempts with whole pixels, then the largest centred box.
void attempted_crop(const ViewPolicy& p, int64_t height, int64_t width, Random& random, ViewParameters& view) {
  const auto h = static_cast<double>(height), w = static_cast<double>(width);
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double area = h * w * random.uniform(p.crop_min_area, p.crop_max_area);
    const double ratio = std::exp(random.uniform(std::log(p.crop_min_ratio), std::log(p.crop_max_ratio)));
    const int64_t cw = std::llround(std::sqrt(area * ratio)), ch = std::llround(std::sqrt(area / ratio));
    if (cw < 1 || ch < 1 || cw > width || ch > height) continue;
    view.height = static_cast<double>(ch);
    view.width = static_cast<double>(cw);
    view.top = static_cast<double>(random.below(static_cast<uint64_t>(height - ch + 1)));
    view.left = static_cast<double>(random.below(static_cast<uint64_t>(width - cw + 1)));
    return;
  }
  const double ratio = std::clamp(w / h, p.crop_min_ratio, p.crop_max_ratio);
  view.width = std::max(1.0, std::min(w, std::round(h * ratio)));
  view.height = std::max(1.0, std::min(h, std::round(w / ratio)));
  view.top = std::floor((h - view.height) / 2);
  view.left = std::floor((w - view.width) / 2);
}

// timm's RandomErasing: ten attempts at a box that is smaller than the view.
void erased_box(const ViewPolicy& p, Random& random, ViewParameters& view) {
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double area = random.uniform(p.erase_min_area, p.erase_max_area);
    const double ratio = std::exp(random.uniform(std::log(p.erase_min_ratio), std::log(p.erase_max_ratio)));
    const double height = std::sqrt(area * ratio), width = std::sqrt(area / ratio);
    if (height >= 1 || width >= 1) continue;
    view.erase_height = height;
    view.erase_width = width;
    view.erase_top = random.uniform();
    view.erase_left = random.uniform();
    view.erase_seed = uint64_t{random.word()} << 32 | random.word();
    return;
  }
}

double factor(double strength, Random& random) {
  return strength > 0 ? random.uniform(std::max(0.0, 1 - strength), 1 + strength) : 1;
}

}  // namespace

ViewParameters draw_view(const ViewPolicy& p, int64_t height, int64_t width, Random& random) {
  ViewParameters view;
  const int64_t side = std::min(height, width);
  view.height = view.width = static_cast<double>(side);  // without a crop: the centred square, as plain_view
  view.top = static_cast<double>((height - side) / 2);   // whole pixels, or an odd rest would blur the plain view
  view.left = static_cast<double>((width - side) / 2);
  if (p.crop && p.crop_side > 0)
    placed_crop(p, height, width, random, view);
  else if (p.crop && p.crop_clamp)
    clamped_crop(p, static_cast<double>(height), static_cast<double>(width), random, view);
  else if (p.crop)
    attempted_crop(p, height, width, random, view);
  if (p.pad > 0) {
    const auto offsets = static_cast<uint64_t>(2 * p.pad + 1);
    view.down = static_cast<int64_t>(random.below(offsets)) - p.pad;
    view.right = static_cast<int64_t>(random.below(offsets)) - p.pad;
  }
  if (p.flip > 0) view.flip = random.chance(p.flip);
  if (p.gamma > 0 && random.chance(p.gamma)) view.gamma = std::exp(random.uniform(-p.gamma_strength, p.gamma_strength));
  if (p.jitter > 0 && random.chance(p.jitter)) {
    view.jitter = true;
    if (p.jitter_random_order) shuffle(view.order, random);
    view.brightness = factor(p.brightness, random);
    view.contrast = factor(p.contrast, random);
    view.saturation = factor(p.saturation, random);
    view.hue = p.hue > 0 ? random.uniform(-p.hue, p.hue) : 0;
  }
  if (p.grayscale > 0) view.gray = random.chance(p.grayscale);
  if (p.blur > 0 && random.chance(p.blur)) view.sigma = random.uniform(p.blur_min_sigma, p.blur_max_sigma);
  if (p.solarize > 0) view.solarize = random.chance(p.solarize);
  if (p.erase > 0 && random.chance(p.erase)) erased_box(p, random, view);
  return view;
}

}  // namespace tacit::ssl
