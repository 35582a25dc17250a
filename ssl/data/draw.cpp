// draw_view(): random numbers to the parameters of one view.
#include <algorithm>
#include <cmath>

#include "ssl/data/augment.h"
#include "ssl/data/view_steps.h"
#include "tensor/error.h"

namespace tacit::ssl {

namespace {

void set_box(ViewParameters& p, double top, double left, double height, double width) {
  p.top = top;
  p.left = left;
  p.height = height;
  p.width = width;
}

double draw_ratio(const ViewPolicy& policy, Random& random) {
  return std::exp(random.uniform(std::log(policy.crop_min_ratio), std::log(policy.crop_max_ratio)));
}

/// A box with real coordinates; sides beyond the image are clamped to it.
void draw_clamped_box(const ViewPolicy& policy, double height, double width, Random& random, ViewParameters& p) {
  const double area = random.uniform(policy.crop_min_area, policy.crop_max_area),
               root = std::sqrt(draw_ratio(policy, random));
  const double w = width * std::min(1.0, std::sqrt(area) * root), h = height * std::min(1.0, std::sqrt(area) / root);
  const double top = random.uniform() * (height - h);
  set_box(p, top, random.uniform() * (width - w), h, w);
}

/// torchvision's RandomResizedCrop: whole pixels, ten attempts, else the largest central box of an allowed ratio.
void draw_pixel_box(const ViewPolicy& policy, int64_t height, int64_t width, Random& random, ViewParameters& p) {
  constexpr int kAttempts = 10;
  const auto rows = static_cast<double>(height), columns = static_cast<double>(width);
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const double area = rows * columns * random.uniform(policy.crop_min_area, policy.crop_max_area);
    const double ratio = draw_ratio(policy, random);
    const int64_t w = std::llround(std::sqrt(area * ratio)), h = std::llround(std::sqrt(area / ratio));
    if (w < 1 || h < 1 || w > width || h > height) continue;
    const auto top = static_cast<double>(random.below(static_cast<uint64_t>(height - h + 1)));
    const auto left = static_cast<double>(random.below(static_cast<uint64_t>(width - w + 1)));
    return set_box(p, top, left, static_cast<double>(h), static_cast<double>(w));
  }
  double h = rows, w = columns;
  if (w / h < policy.crop_min_ratio)
    h = std::max(1.0, std::round(w / policy.crop_min_ratio));
  else if (w / h > policy.crop_max_ratio)
    w = std::max(1.0, std::round(h * policy.crop_max_ratio));
  set_box(p, std::floor((rows - h) / 2), std::floor((columns - w) / 2), h, w);
}

double draw_factor(double strength, Random& random) {
  return random.uniform(std::max(0.0, 1 - strength), 1 + strength);
}

void draw_jitter(const ViewPolicy& policy, Random& random, ViewParameters& p) {
  p.jitter = true;
  if (policy.jitter_random_order)
    for (size_t i = p.order.size(); i > 1; --i) std::swap(p.order[i - 1], p.order[random.below(i)]);
  p.brightness = draw_factor(policy.brightness, random);
  p.contrast = draw_factor(policy.contrast, random);
  p.saturation = draw_factor(policy.saturation, random);
  p.hue = random.uniform(-policy.hue, policy.hue);
}

}  // namespace

ViewParameters central_view(int64_t height, int64_t width) {
  const int64_t side = std::min(height, width);
  ViewParameters p;
  set_box(p, static_cast<double>((height - side) / 2), static_cast<double>((width - side) / 2),
          static_cast<double>(side), static_cast<double>(side));
  return p;
}

ViewParameters draw_view(const ViewPolicy& policy, int64_t height, int64_t width, Random& random) {
  TACIT_CHECK(height > 0 && width > 0, "[augment] an image of ", height, " x ", width, " pixels has no views");
  ViewParameters p = central_view(height, width);
  if (policy.crop && policy.crop_clamp)
    draw_clamped_box(policy, static_cast<double>(height), static_cast<double>(width), random, p);
  else if (policy.crop)
    draw_pixel_box(policy, height, width, random, p);
  p.flip = random.chance(policy.flip);
  if (random.chance(policy.gamma)) p.gamma = std::exp(random.uniform(-policy.gamma_strength, policy.gamma_strength));
  if (random.chance(policy.jitter)) draw_jitter(policy, random, p);
  p.gray = random.chance(policy.grayscale);
  if (random.chance(policy.blur)) p.sigma = random.uniform(policy.blur_min_sigma, policy.blur_max_sigma);
  p.solarize = random.chance(policy.solarize);
  return p;
}

}  // namespace tacit::ssl
