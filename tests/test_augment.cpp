// Views: what is drawn, and that applying it is the arithmetic it claims to be.
#include <doctest/doctest.h>

#include <cmath>

#include "ssl/data/augment.h"
#include "ssl/data/color.h"
#include "ssl/data/resample.h"
#include "tensor/error.h"

using namespace tacit;
using namespace tacit::ssl;

namespace {

Image gradient(int64_t h, int64_t w, int64_t c) {
  Image image{h, w, c, {}};
  for (int64_t i = 0; i < h * w * c; ++i) image.pixels.push_back(static_cast<uint8_t>((i * 7 + i / 5) % 256));
  return image;
}

std::vector<float> resized(const Image& image, const Box& box, int64_t size, bool antialias, bool flip = false) {
  std::vector<float> out(static_cast<size_t>(size * size * image.channels));
  resample(image, box, size, flip, antialias, out.data());
  return out;
}

}  // namespace

TEST_CASE("resample: the whole image at its own size is the image; flipping mirrors it") {
  const Image image = gradient(8, 8, 3);
  for (const bool antialias : {false, true}) {
    const auto same = resized(image, {0, 0, 8, 8}, 8, antialias),
               mirrored = resized(image, {0, 0, 8, 8}, 8, antialias, true);
    for (size_t y = 0; y < 8; ++y)
      for (size_t x = 0; x < 8; ++x)
        for (size_t c = 0; c < 3; ++c) {
          const float expected = static_cast<float>(image.pixels[(y * 8 + x) * 3 + c]) / 255;
          CHECK(same[(y * 8 + x) * 3 + c] == doctest::Approx(expected).epsilon(1e-6));
          CHECK(mirrored[(y * 8 + 7 - x) * 3 + c] == doctest::Approx(expected).epsilon(1e-6));
        }
  }
}

TEST_CASE("resample: halving with antialias weighs eight pixels an axis by a triangle, without it mixes four") {
  const Image image = gradient(16, 16, 1);
  const auto pixel = [&](int64_t y, int64_t x) {
    return static_cast<double>(image.pixels[static_cast<size_t>(y * 16 + x)]) / 255;
  };
  const auto smooth = resized(image, {0, 0, 16, 16}, 8, true), rough = resized(image, {0, 0, 16, 16}, 8, false);
  for (int64_t y = 1; y < 7; ++y)
    for (int64_t x = 1; x < 7; ++x) {
      double sum = 0, weights = 0;
      for (int64_t i = -1; i <= 2; ++i)  // centres at distance .5 and 1.5 of a triangle of half width 2
        for (int64_t j = -1; j <= 2; ++j) {
          const double w =
              (1 - std::abs(static_cast<double>(i) - 0.5) / 2) * (1 - std::abs(static_cast<double>(j) - 0.5) / 2);
          sum += w * pixel(2 * y + i, 2 * x + j);
          weights += w;
        }
      CHECK(smooth[static_cast<size_t>(y * 8 + x)] == doctest::Approx(sum / weights).epsilon(1e-5));
      const double four =
          (pixel(2 * y, 2 * x) + pixel(2 * y, 2 * x + 1) + pixel(2 * y + 1, 2 * x) + pixel(2 * y + 1, 2 * x + 1)) / 4;
      CHECK(rough[static_cast<size_t>(y * 8 + x)] == doctest::Approx(four).epsilon(1e-5));
    }
}

TEST_CASE("draws: boxes lie inside the image, factors in their ranges, chances come true") {
  ViewPolicy policy = augmentation("simclr", 224, 3)[0];
  for (const bool clamp : {false, true}) {
    policy.crop_clamp = clamp;
    int flips = 0, jitters = 0, grays = 0;
    double area = 0;
    constexpr int kDraws = 4000;
    for (uint64_t i = 0; i < kDraws; ++i) {
      Random random(1, i);
      const ViewParameters v = draw_view(policy, 30, 50, random);
      const bool inside = v.top >= 0 && v.left >= 0 && v.top + v.height <= 30 + 1e-9 && v.left + v.width <= 50 + 1e-9 &&
                          v.height > 0 && v.width > 0;
      CHECK(inside);
      const bool in_range = v.brightness >= 0.2 && v.brightness <= 1.8 && std::abs(v.hue) <= 0.2;
      CHECK(in_range);
      flips += v.flip;
      jitters += v.jitter;
      grays += v.gray;
      area += v.height * v.width / 1500;
    }
    CHECK(std::abs(flips / double{kDraws} - 0.5) < 0.04);
    CHECK(std::abs(jitters / double{kDraws} - 0.8) < 0.04);
    CHECK(std::abs(grays / double{kDraws} - 0.2) < 0.04);
    CHECK(area / kDraws > 0.35);
    CHECK(area / kDraws < 0.6);
  }
}

TEST_CASE("colours: brightness, contrast, saturation, gray, hue and solarization by hand") {
  float x[6] = {0.2f, 0.4f, 0.9f, 0.5f, 0.5f, 0.1f};
  adjust_brightness(x, 6, 1.5);
  CHECK(x[0] == doctest::Approx(0.3));
  CHECK(x[2] == 1);
  float gray[4] = {0, 0.25f, 0.75f, 1};
  adjust_contrast(gray, 4, 1, 0.5);
  CHECK(gray[0] == doctest::Approx(0.25));
  CHECK(gray[3] == doctest::Approx(0.75));
  float red[3] = {1, 0, 0};
  adjust_saturation(red, 1, 3, 0);
  CHECK(red[1] == doctest::Approx(0.299));
  float turned[3] = {1, 0, 0};
  adjust_hue(turned, 1, 3, 1.0 / 3);  // red becomes green
  CHECK(turned[0] == doctest::Approx(0).epsilon(1e-5));
  CHECK(turned[1] == doctest::Approx(1).epsilon(1e-5));
  adjust_hue(turned, 1, 3, -1.0 / 3);
  CHECK(turned[0] == doctest::Approx(1).epsilon(1e-5));
  float dark[2] = {0.25f, 0.75f};
  solarize(dark, 2);
  CHECK(dark[0] == 0.25f);
  CHECK(dark[1] == 0.25f);
  float base[1] = {0};
  adjust_gamma(base, 1, 0.5);
  CHECK(base[0] == doctest::Approx(0.01));
}

TEST_CASE("blur keeps a constant image and spreads a point symmetrically") {
  std::vector<float> flat(30 * 30, 0.5f), point(30 * 30, 0.0f);
  gaussian_blur(flat.data(), 30, 1, 1.5);
  for (const float v : flat) CHECK(v == doctest::Approx(0.5));
  point[15 * 30 + 15] = 1;
  gaussian_blur(point.data(), 30, 1, 1.0);
  const double e = std::exp(-0.5), centre = 1 / (1 + 2 * e);
  CHECK(point[15 * 30 + 15] == doctest::Approx(centre * centre));
  CHECK(point[15 * 30 + 14] == doctest::Approx(centre * centre * e));
  CHECK(point[14 * 30 + 15] == point[16 * 30 + 15]);
}

TEST_CASE("views are pure functions of image and parameters; the plain view is normalised") {
  const Image image = gradient(28, 28, 1);
  const ViewPolicy policy = augmentation("fashion-mnist-demo", 28, 1)[0];
  Random random(3, 4);
  const ViewParameters view = draw_view(policy, 28, 28, random);
  std::vector<float> a(28 * 28), b(28 * 28, -1);
  apply_view(image, view, policy, 28, 1, a.data());
  apply_view(image, view, policy, 28, 1, b.data());
  CHECK(a == b);
  plain_view(image, policy, 28, 1, a.data());
  CHECK(a[5] == doctest::Approx((static_cast<double>(image.pixels[5]) / 255 - 0.2860) / 0.3530).epsilon(1e-5));
  CHECK_THROWS_WITH_AS(augmentation("simclear", 28, 1), doctest::Contains("known: simclr"), Error);
}

TEST_CASE("the plain view of an image with an odd rest is cut at whole pixels") {
  Image stripes{33, 32, 1, {}};
  for (int64_t i = 0; i < 33 * 32; ++i) stripes.pixels.push_back(i / 32 % 2 ? 255 : 0);
  std::vector<float> out(32 * 32);
  plain_view(stripes, ViewPolicy(), 32, 1, out.data());
  for (size_t y = 0; y < 32; ++y) CHECK(out[y * 32] == static_cast<float>(y % 2));
}
