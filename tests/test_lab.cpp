// Lab: published values, the way back, and that the loader's lightness is the method's.
#include <doctest/doctest.h>

#include <array>
#include <vector>

#include "ssl/data/augment.h"
#include "ssl/data/color.h"
#include "ssl/methods/lab.h"
#include "tensor/ops.h"
#include "tensor/random.h"

using namespace tacit;
using namespace tacit::ssl;

namespace {

struct Colour {
  const char* name;
  std::array<double, 3> rgb, lab;
};
// D65, 2 degrees, as published by B. Lindbloom's calculator and by EasyRGB to two digits.
const std::vector<Colour> kKnown = {{"white", {1, 1, 1}, {100, 0, 0}},
                                    {"black", {0, 0, 0}, {0, 0, 0}},
                                    {"gray", {0.5, 0.5, 0.5}, {53.3890, 0, 0}},
                                    {"red", {1, 0, 0}, {53.2408, 80.0925, 67.2032}},
                                    {"green", {0, 1, 0}, {87.7347, -86.1827, 83.1793}},
                                    {"blue", {0, 0, 1}, {32.2970, 79.1875, -107.8602}},
                                    {"cyan", {0, 1, 1}, {91.1132, -48.0875, -14.1312}},
                                    {"magenta", {1, 0, 1}, {60.3242, 98.2343, -60.8249}},
                                    {"yellow", {1, 1, 0}, {97.1393, -21.5537, 94.4780}}};

Image noise_image(int64_t size) {
  Random random(3, 4);
  Image image{size, size, 3, std::vector<uint8_t>(static_cast<size_t>(size * size * 3))};
  for (uint8_t& p : image.pixels) p = static_cast<uint8_t>(random.below(256));
  for (size_t i = 0; i < 90; ++i) image.pixels[i] = static_cast<uint8_t>(i / 9);  // below both knees too
  return image;
}

Tensor pixels_of(const Image& image) {
  std::vector<float> rgb;
  for (const uint8_t p : image.pixels) rgb.push_back(static_cast<float>(p) / 255);
  return Tensor::from(rgb, {image.height, image.width, 3});
}

}  // namespace

TEST_CASE("Lab of white, black, gray and the primaries is the published one") {
  for (const DType t : {f64, f32})
    for (const Colour& c : kKnown) {
      CAPTURE(c.name);
      const std::vector<double> rgb(c.rgb.begin(), c.rgb.end());
      const Tensor lab = rgb_to_lab(Tensor::from(rgb, {3}).to(t));
      const std::vector<double> v = lab.to(f64).to_vector<double>();
      for (size_t i = 0; i < 3; ++i) CHECK(std::abs(v[i] - c.lab[i]) < 1e-3);
      CHECK(max_abs_difference(rgb_to_lightness(Tensor::from(rgb, {3}).to(t)), lab.slice(0, 0, 1)) < 1e-5);
    }
}

TEST_CASE("RGB to Lab and back is the identity; colours that sRGB lacks are clamped") {
  const Tensor rgb = Tensor::uniform({7, 9, 3}, 1, 2, f64);
  CHECK(max_abs_difference(lab_to_rgb(rgb_to_lab(rgb)), rgb) < 1e-12);
  CHECK(max_abs_difference(lab_to_rgb(rgb_to_lab(rgb.to(f32))), rgb) < 1e-5);
  const Tensor dark = rgb * 0.01;
  CHECK(max_abs_difference(lab_to_rgb(rgb_to_lab(dark)), dark) < 1e-12);
  const Tensor beyond = lab_to_rgb(Tensor::from(std::vector<double>{50, 120, -120, 110, 0, 0}, {2, 3}));
  CHECK(amax(beyond).item() == 1);
  CHECK(amin(beyond).item() == 0);
  CHECK_THROWS_WITH_AS(rgb_to_lab(Tensor::zeros({4, 2})), doctest::Contains("(4, 2)"), Error);
}

TEST_CASE("the loader's lightness is the method's, to 1e-4 of L") {
  const Image image = noise_image(24);
  const Tensor of_method = (rgb_to_lightness(pixels_of(image)) - 50.0) / 50;
  ViewPolicy policy;
  policy.lightness = true;
  std::vector<float> view(24 * 24);
  plain_view(image, policy, 24, 1, view.data());
  const Tensor of_loader = Tensor::from(view, {24, 24, 1});
  CHECK(max_abs_difference(of_method, of_loader) * 50 < 1e-4);
  CHECK(amin(of_loader).item() >= -1);
  CHECK(amax(of_loader).item() <= 1);
}

TEST_CASE("lightness comes after the colours of a view, and has one channel") {
  const Image image = noise_image(16);
  ViewPolicy policy;
  policy.flip = 1;
  policy.solarize = 1;
  Random random(0, 0);
  const ViewParameters parameters = draw_view(policy, 16, 16, random);
  std::vector<float> rgb(16 * 16 * 3), by_hand(16 * 16), view(16 * 16);
  apply_view(image, parameters, policy, 16, 3, rgb.data());
  to_lightness(rgb.data(), 16 * 16, by_hand.data());
  policy.lightness = true;
  apply_view(image, parameters, policy, 16, 1, view.data());
  CHECK(view == by_hand);
  CHECK_THROWS_WITH_AS(apply_view(image, parameters, policy, 16, 3, rgb.data()), doctest::Contains("one channel"),
                       Error);
  Image gray = to_channels(image, 1);  // a gray image has a lightness too
  plain_view(gray, policy, 16, 1, view.data());
  CHECK(max_abs_difference(Tensor::from(view, {16, 16, 1}),
                           (rgb_to_lightness(pixels_of(to_channels(gray, 3))) - 50.0) / 50) < 1e-5);
}
