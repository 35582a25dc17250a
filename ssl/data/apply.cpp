// apply_view(): the steps in their order, and the blur.
#include <cmath>

#include "ssl/data/augment.h"
#include "ssl/data/view_steps.h"
#include "tensor/error.h"

namespace tacit::ssl {

namespace {

/// -1 and n mirror to 1 and n - 2.
int64_t reflected(int64_t i, int64_t n) { return i < 0 ? -i : i >= n ? 2 * (n - 1) - i : i; }

void normalise(float* pixels, int64_t n, int64_t channels, const ViewPolicy& policy) {
  if (policy.mean.empty()) return;
  TACIT_CHECK(policy.mean.size() == static_cast<size_t>(channels) && policy.std.size() == policy.mean.size(),
              "[augment] the policy's mean and std have ", policy.mean.size(), " and ", policy.std.size(),
              " channels, the view has ", channels);
  if (channels == 1) {
    const float mean = policy.mean[0], std = policy.std[0];
    for (int64_t i = 0; i < n; ++i) pixels[i] = (pixels[i] - mean) / std;
    return;
  }
  const float m0 = policy.mean[0], m1 = policy.mean[1], m2 = policy.mean[2];
  const float s0 = policy.std[0], s1 = policy.std[1], s2 = policy.std[2];
  for (int64_t i = 0; i < n; ++i, pixels += 3) {
    pixels[0] = (pixels[0] - m0) / s0;
    pixels[1] = (pixels[1] - m1) / s1;
    pixels[2] = (pixels[2] - m2) / s2;
  }
}

}  // namespace

std::vector<float> gaussian_kernel(int64_t length, double sigma) {
  std::vector<double> values(static_cast<size_t>(length));
  double sum = 0;
  for (int64_t i = 0; i < length; ++i) {
    const double d = static_cast<double>(i - length / 2) / sigma;
    sum += values[static_cast<size_t>(i)] = std::exp(-0.5 * d * d);
  }
  std::vector<float> kernel;
  for (const double value : values) kernel.push_back(static_cast<float>(value / sum));
  return kernel;
}

void apply_blur(float* pixels, int64_t size, int64_t channels, double sigma) {
  const int64_t length = (size / 10) | 1, radius = length / 2;
  if (radius == 0) return;
  const std::vector<float> kernel = gaussian_kernel(length, sigma);
  thread_local std::vector<float> other;
  const int64_t row = size * channels;
  other.assign(static_cast<size_t>(size * row), 0.0f);
  for (int64_t y = 0; y < size; ++y)
    for (int64_t k = 0; k < length; ++k) {
      const float* from = pixels + reflected(y + k - radius, size) * row;
      float* to = other.data() + y * row;
      const float w = kernel[static_cast<size_t>(k)];
      for (int64_t x = 0; x < row; ++x) to[x] += w * from[x];
    }
  thread_local std::vector<float> line;  // one row with its reflected borders
  line.resize(static_cast<size_t>((size + 2 * radius) * channels));
  for (int64_t y = 0; y < size; ++y) {
    for (int64_t x = -radius; x < size + radius; ++x)
      for (int64_t c = 0; c < channels; ++c)
        line[static_cast<size_t>((x + radius) * channels + c)] =
            other[static_cast<size_t>(y * row + reflected(x, size) * channels + c)];
    float* to = pixels + y * row;
    for (int64_t x = 0; x < row; ++x) to[x] = 0;
    for (int64_t k = 0; k < length; ++k) {
      const float w = kernel[static_cast<size_t>(k)];
      const float* from = line.data() + k * channels;
      for (int64_t x = 0; x < row; ++x) to[x] += w * from[x];
    }
  }
}

void apply_view(const Image& image, const ViewParameters& p, const ViewPolicy& policy, int64_t size, int64_t channels,
                float* out) {
  TACIT_CHECK(size > 0 && image.height > 0 && image.width > 0, "[augment] a view of ", size, " pixels of an image of ",
              image.height, " x ", image.width, " pixels");
  if (image.channels != channels) return apply_view(to_channels(image, channels), p, policy, size, channels, out);
  const int64_t n = size * size;
  crop_and_resize(image, p, policy.antialias, !policy.crop_clamp, size, out);
  if (p.gamma != 1) apply_gamma(out, n * channels, static_cast<float>(p.gamma));
  if (p.jitter) apply_jitter(out, n, channels, p);
  if (p.gray) apply_grayscale(out, n, channels);
  if (p.sigma > 0) apply_blur(out, size, channels, p.sigma);
  if (p.solarize) apply_solarize(out, n * channels);
  normalise(out, n, channels, policy);
}

void plain_view(const Image& image, const ViewPolicy& policy, int64_t size, int64_t channels, float* out) {
  ViewPolicy plain;
  plain.mean = policy.mean;
  plain.std = policy.std;
  apply_view(image, central_view(image.height, image.width), plain, size, channels, out);
}

}  // namespace tacit::ssl
