// Applying drawn parameters: crop and resize, shift, flip, then colours, blur, solarization, normalisation or
// lightness, erasing.
#include <algorithm>
#include <cmath>
#include <vector>

#include "backends/cpu/kernels/augment.h"
#include "ssl/data/augment.h"
#include "ssl/data/color.h"
#include "tensor/error.h"

namespace tacit::ssl {

namespace {

void jitter(const ViewParameters& view, float* x, int64_t pixels, int64_t channels) {
  for (const int step : view.order) {
    if (step == 0 && view.brightness != 1) adjust_brightness(x, pixels * channels, view.brightness);
    if (step == 1 && view.contrast != 1) adjust_contrast(x, pixels, channels, view.contrast);
    if (step == 2 && view.saturation != 1) adjust_saturation(x, pixels, channels, view.saturation);
    if (step == 3 && view.hue != 0) adjust_hue(x, pixels, channels, view.hue);
  }
}

/// Moves the content of a (size, size, C) view; what comes in from beyond the edges is black.
void shift(const ViewParameters& view, float* x, int64_t size, int64_t channels) {
  const int64_t right = view.flip ? -view.right : view.right, line = size * channels;
  const std::vector<float> before(x, x + size * line);
  std::fill(x, x + size * line, 0.0f);
  const int64_t first = std::max<int64_t>(0, right), last = std::min(size, size + right);
  for (int64_t y = std::max<int64_t>(0, view.down); y < std::min(size, size + view.down); ++y)
    if (first < last)
      std::copy_n(before.data() + (y - view.down) * line + (first - right) * channels, (last - first) * channels,
                  x + y * line + first * channels);
}

void normalise(const ViewPolicy& policy, float* x, int64_t pixels, int64_t channels) {
  if (policy.mean.empty()) return;
  check_normalisation(policy, channels);
  float scale[3];
  for (size_t c = 0; c < policy.std.size(); ++c) scale[c] = 1 / policy.std[c];
  cpu::augment_table().normalise(x, pixels, channels, policy.mean.data(), scale);
}

void erase(const ViewParameters& view, bool noise, float* x, int64_t size, int64_t channels) {
  const ErasedPart part = erased_part(view, size);
  Random random(view.erase_seed, part.stream);
  for (int64_t y = part.top; y < part.top + part.height; ++y)
    for (int64_t i = part.left * channels; i < (part.left + part.width) * channels; ++i)
      x[y * size * channels + i] = noise ? static_cast<float>(random.normal()) : 0.0f;
}

/// The view before its normalisation.
void make_view(const Image& source, const ViewParameters& view, const ViewPolicy& policy, int64_t size,
               int64_t channels, float* out) {
  TACIT_CHECK(source.height > 0 && source.width > 0 && size > 0, "[augment] an image of ", source.height, " x ",
              source.width, " pixels cannot become a view of size ", size);
  const Box box{view.top, view.left, view.height, view.width};
  if (source.channels == channels)
    resample(source, box, size, size, view.flip, policy.antialias, policy.filter, out);
  else
    resample(to_channels(source, channels), box, size, size, view.flip, policy.antialias, policy.filter, out);
  const int64_t pixels = size * size;
  if (view.down != 0 || view.right != 0) shift(view, out, size, channels);
  if (view.gamma != 1) adjust_gamma(out, pixels * channels, view.gamma);
  if (view.gray && policy.gray_first) to_gray(out, pixels, channels);
  if (view.jitter) jitter(view, out, pixels, channels);
  if (view.gray && !policy.gray_first) to_gray(out, pixels, channels);
  if (view.sigma > 0) gaussian_blur(out, size, channels, view.sigma);
  if (view.solarize) solarize(out, pixels * channels);
}

}  // namespace

void check_normalisation(const ViewPolicy& policy, int64_t channels) {
  TACIT_CHECK(policy.mean.size() == static_cast<size_t>(channels) && policy.std.size() == policy.mean.size(),
              "[augment] mean and std are of ", policy.mean.size(), " channels, the view has ", channels);
}

ErasedPart erased_part(const ViewParameters& view, int64_t size) {
  const auto side = [&](double fraction) {
    return std::min(size - 1, static_cast<int64_t>(std::llround(fraction * static_cast<double>(size))));
  };
  const auto place = [](double fraction, int64_t room) {
    return static_cast<int64_t>(fraction * static_cast<double>(room + 1));
  };
  ErasedPart part;
  part.height = side(view.erase_height);
  part.width = side(view.erase_width);
  part.top = place(view.erase_top, size - part.height);
  part.left = place(view.erase_left, size - part.width);
  part.stream = random_stream("random erasing");
  return part;
}

void apply_view(const Image& source, const ViewParameters& view, const ViewPolicy& policy, int64_t size,
                int64_t channels, float* out) {
  if (!policy.lightness) {
    make_view(source, view, policy, size, channels, out);
    normalise(policy, out, size * size, channels);
  } else {
    TACIT_CHECK(channels == 1, "[augment] a view of lightness has one channel, ", channels, " are asked for");
    std::vector<float> rgb(static_cast<size_t>(size * size * 3));
    make_view(source, view, policy, size, 3, rgb.data());
    to_lightness(rgb.data(), size * size, out);
  }
  if (view.erase_height > 0) erase(view, policy.erase_noise, out, size, channels);
}

void plain_view(const Image& image, const ViewPolicy& policy, int64_t size, int64_t channels, float* out) {
  ViewPolicy plain;
  plain.mean = policy.mean;
  plain.std = policy.std;
  plain.lightness = policy.lightness;
  Random unused(0, 0);
  apply_view(image, draw_view(plain, image.height, image.width, unused), plain, size, channels, out);
}

}  // namespace tacit::ssl
