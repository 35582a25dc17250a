// The named augmentation policies: they exist for gray and colour, draw what their sources say, and make sound views.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "ssl/data/augment.h"
#include "ssl/data/color.h"
#include "tensor/error.h"

using namespace tacit;
using namespace tacit::ssl;

namespace {

Image noise(int64_t h, int64_t w, int64_t c) {
  Image image{h, w, c, {}};
  Random random(11, 12);
  for (int64_t i = 0; i < h * w * c; ++i) image.pixels.push_back(static_cast<uint8_t>(random.below(256)));
  return image;
}

std::vector<float> applied(const Image& image, const ViewParameters& view, const ViewPolicy& policy, int64_t size) {
  std::vector<float> out(static_cast<size_t>(size * size * image.channels));
  apply_view(image, view, policy, size, image.channels, out.data());
  return out;
}

bool within(double x, double low, double high) { return x >= low - 1e-9 && x <= high + 1e-9; }

void check_draw(const ViewPolicy& p, const ViewParameters& v, double h, double w) {
  CHECK(within(v.top, 0, h - v.height));
  CHECK(within(v.left, 0, w - v.width));
  CHECK(within(v.brightness, 1 - p.brightness, 1 + p.brightness));
  CHECK(within(v.contrast, 1 - p.contrast, 1 + p.contrast));
  CHECK(within(v.saturation, 1 - p.saturation, 1 + p.saturation));
  CHECK(within(v.hue, -p.hue, p.hue));
  CHECK((v.sigma == 0 || within(v.sigma, p.blur_min_sigma, p.blur_max_sigma)));
  CHECK(within(static_cast<double>(v.down), static_cast<double>(-p.pad), static_cast<double>(p.pad)));
  CHECK(within(static_cast<double>(v.right), static_cast<double>(-p.pad), static_cast<double>(p.pad)));
}

/// One view of a policy at 224 pixels in colour, as its source has it.
struct Source {
  const char* name;
  size_t view, views;
  double min_area, jitter, strength, saturation, hue, gray, blur, solarize;
};

}  // namespace

TEST_CASE("every policy exists for gray and colour; draws stay in range, views are finite and differ") {
  for (const std::string& name : augmentation_names())
    for (const int64_t channels : {1, 3})
      for (const int64_t size : {28, 96}) {
        CAPTURE(name);
        CAPTURE(channels);
        CAPTURE(size);
        const std::vector<ViewPolicy> views = augmentation(name, size, channels);
        REQUIRE_FALSE(views.empty());
        const Image image = noise(size, size + 9, channels);
        std::vector<std::vector<float>> pictures;
        for (uint64_t v = 0; v < views.size(); ++v) {
          const ViewPolicy& policy = views[v];
          CHECK(policy.mean.size() == policy.std.size());
          CHECK((policy.mean.empty() || policy.mean.size() == static_cast<size_t>(channels)));
          if (channels == 1) CHECK(policy.saturation + policy.hue + policy.grayscale == 0);
          for (uint64_t i = 0; i < 40; ++i) {
            Random random(3, random_stream("test", i, v));
            const ViewParameters drawn = draw_view(policy, image.height, image.width, random);
            check_draw(policy, drawn, static_cast<double>(image.height), static_cast<double>(image.width));
            if (i > 2) continue;
            pictures.push_back(applied(image, drawn, policy, size));
            bool sound = true;
            for (const float x : pictures.back())
              sound = sound && std::isfinite(x) && (!policy.mean.empty() || (x >= 0 && x <= 1));
            CHECK(sound);
          }
        }
        if (name == "none") {
          CHECK(pictures[0] == pictures[3]);
        } else {
          std::sort(pictures.begin(), pictures.end());
          CHECK(std::unique(pictures.begin(), pictures.end()) - pictures.begin() > 1);
        }
      }
}

TEST_CASE("policies have their sources' numbers") {
  const Source sources[] = {{"simclr", 0, 2, .08, .8, .8, .8, .2, .2, .5, 0},
                            {"simclr", 1, 2, .08, .8, .8, .8, .2, .2, .5, 0},
                            {"moco-v1", 0, 2, .2, 1, .4, .4, .4, .2, 0, 0},
                            {"moco-v2", 1, 2, .2, .8, .4, .4, .1, .2, .5, 0},
                            {"simsiam", 0, 2, .2, .8, .4, .4, .1, .2, .5, 0},
                            {"moco-cifar", 0, 2, .08, .8, .4, .4, .1, .2, 0, 0},
                            {"moco-v3", 0, 2, .2, .8, .4, .2, .1, .2, 1, 0},
                            {"moco-v3-vit", 1, 2, .08, .8, .4, .2, .1, .2, .1, .2},
                            {"byol", 0, 2, .08, .8, .4, .2, .1, .2, 1, 0},
                            {"byol", 1, 2, .08, .8, .4, .2, .1, .2, .1, .2},
                            {"barlow", 1, 2, .08, .8, .4, .2, .1, .2, .1, .2},
                            {"vicreg", 0, 2, .08, .8, .4, .2, .1, .2, 1, 0},
                            {"dkobak", 0, 2, .2, .8, .4, .4, .1, .1, 0, 0},
                            {"htdt", 1, 2, .2, .8, .4, .4, .1, .1, 0, 0},
                            {"solo-symmetric", 1, 2, .08, .8, .8, .8, .2, .2, .5, 0},
                            {"solo-weak", 0, 2, .08, .8, .4, .4, .1, .2, .5, 0},
                            {"solo-reconstruction", 0, 1, .08, 0, 0, 0, 0, 0, 0, 0},
                            {"vicreg-lightly", 1, 2, .08, .8, .4, .2, .1, .2, .5, .1},
                            {"ijepa", 0, 1, .3, 0, 0, 0, 0, 0, 0, 0},
                            {"mae", 0, 1, .2, 0, 0, 0, 0, 0, 0, 0},
                            {"jigsaw", 0, 1, .08, 0, 0, 0, 0, .66, 0, 0},
                            {"rotation", 0, 1, .08, 0, 0, 0, 0, 0, 0, 0},
                            {"colorization", 0, 1, .08, 0, 0, 0, 0, 0, 0, 0}};
  for (const Source& s : sources) {
    CAPTURE(s.name);
    const std::vector<ViewPolicy> views = augmentation(s.name, 224, 3);
    CHECK(views.size() == s.views);
    const ViewPolicy& p = views[s.view];
    CHECK(p.crop_min_area == s.min_area);
    CHECK(p.crop == (std::string(s.name) != "jigsaw"));
    CHECK(p.flip == (std::string(s.name) == "ijepa" ? 0 : .5));
    CHECK(p.jitter == s.jitter);
    CHECK(p.brightness == s.strength);
    CHECK(p.contrast == s.strength);
    CHECK(p.saturation == s.saturation);
    CHECK(p.hue == s.hue);
    CHECK(p.grayscale == s.gray);
    CHECK(p.blur == s.blur);
    CHECK(p.solarize == s.solarize);
    CHECK((p.filter == Filter::Bicubic) == (std::string(s.name) == "mae" || std::string(s.name) == "htdt"));
    CHECK(p.gray_first == (std::string(s.name) == "moco-v1"));
  }
  for (const char* unnormalised : {"dkobak", "colorization"}) CHECK(augmentation(unnormalised, 32, 3)[0].mean.empty());
  CHECK(augmentation("moco-cifar", 32, 3)[0].std[0] == .2023f);
  CHECK(augmentation("htdt", 96, 3)[0].mean[0] == .43f);
  CHECK(augmentation("rotation", 224, 3)[0].crop_side == 224.0 / 256);
  CHECK(augmentation("colorization", 224, 3)[0].crop_side == 176.0 / 256);
  for (const size_t view : {size_t{0}, size_t{1}}) {
    const ViewPolicy solo = augmentation("solo-asymmetric", 32, 3)[view];
    CHECK(solo.blur == 0);
    CHECK(solo.solarize == (view == 0 ? 0 : .2));
  }
  CHECK(augmentation("rotation", 32, 3)[0].pad == 4);
  CHECK_FALSE(augmentation("rotation", 32, 3)[0].crop);
  CHECK(augmentation("byol", 32, 3)[0].blur == 0);
}

TEST_CASE("rotation and colorization crop the same share of the shorter side of any photograph, anywhere in it") {
  for (const auto& [name, side] : {std::pair{"rotation", 420}, {"colorization", 330}})
    for (const bool wide : {false, true}) {
      const int64_t height = wide ? 480 : 640, width = wide ? 640 : 480;
      std::set<double> tops, lefts;
      for (uint64_t i = 0; i < 200; ++i) {
        Random random(7, i);
        const ViewParameters view = draw_view(augmentation(name, 224, 3)[0], height, width, random);
        REQUIRE(view.height == side);
        REQUIRE(view.width == side);
        tops.insert(view.top);
        lefts.insert(view.left);
        REQUIRE(view.top + view.height <= static_cast<double>(height));
        REQUIRE(view.left + view.width <= static_cast<double>(width));
      }
      CHECK(tops.size() > 40);
      CHECK(lefts.size() > 40);
    }
}

TEST_CASE("a padded crop is the image moved by whole pixels, black beyond its edge, then flipped") {
  const Image image = noise(8, 8, 3);
  ViewPolicy policy;
  policy.pad = 4;
  ViewParameters view;
  view.height = view.width = 8;
  for (view.down = -4; view.down <= 4; ++view.down)
    for (view.right = -9; view.right <= 4; ++view.right)  // -9: nothing of the image is left
      for (const bool flip : {false, true}) {
        view.flip = flip;
        const std::vector<float> out = applied(image, view, policy, 8);
        bool equal = true;
        for (int64_t y = 0; y < 8; ++y)
          for (int64_t x = 0; x < 8; ++x) {
            const int64_t from_y = y - view.down, from_x = (flip ? 7 - x : x) - view.right;
            const bool seen = from_y >= 0 && from_y < 8 && from_x >= 0 && from_x < 8;
            for (int64_t c = 0; c < 3; ++c) {
              const float expected =
                  seen ? static_cast<float>(image.pixels[static_cast<size_t>((from_y * 8 + from_x) * 3 + c)]) / 255 : 0;
              equal = equal && std::abs(out[static_cast<size_t>((y * 8 + x) * 3 + c)] - expected) < 1e-6f;
            }
          }
        CHECK(equal);
      }
  std::vector<int> seen(81, 0);
  for (uint64_t i = 0; i < 2000; ++i) {
    Random random(5, i);
    const ViewParameters drawn = draw_view(policy, 8, 8, random);
    ++seen[static_cast<size_t>((drawn.down + 4) * 9 + drawn.right + 4)];
  }
  CHECK(*std::min_element(seen.begin(), seen.end()) > 0);
}

TEST_CASE("bicubic resizing: weights of Keys with a = -1/2, clamped; the image at its own size is itself") {
  const Image image = noise(16, 16, 1);
  const auto resized = [](const Image& from, int64_t h, int64_t w) {
    std::vector<float> out(static_cast<size_t>(h * w));
    resample(from, {0, 0, static_cast<double>(from.height), static_cast<double>(from.width)}, h, w, false, true,
             Filter::Bicubic, out.data());
    return out;
  };
  const std::vector<float> same = resized(image, 16, 16);
  for (size_t i = 0; i < same.size(); ++i) CHECK(same[i] == doctest::Approx(image.pixels[i] / 255.0).epsilon(1e-6));
  Image line{1, 8, 1, {10, 200, 30, 90, 250, 120, 60, 70}};
  const std::vector<float> doubled = resized(line, 1, 16);
  // Position 7 lies at 3.25 between pixels 3 and 4: distances 1.25, .25, .75, 1.75.
  const double weights[4] = {-0.0703125, 0.8671875, 0.2265625, -0.0234375};
  double expected = 0;
  for (size_t i = 0; i < 4; ++i) expected += weights[i] * line.pixels[2 + i] / 255;
  CHECK(doubled[7] == doctest::Approx(expected).epsilon(1e-5));
  Image edge{1, 8, 1, {0, 0, 0, 0, 255, 255, 255, 255}};
  for (const float x : resized(edge, 1, 32)) CHECK((x >= 0 && x <= 1));
}

TEST_CASE("MoCo v1 turns gray before the jitter, the others after it") {
  const Image image{1, 1, 3, {200, 40, 90}};
  ViewPolicy policy;
  ViewParameters view;
  view.height = view.width = 1;
  view.jitter = view.gray = true;
  view.brightness = 1.5;  // red is clamped before it is mixed into gray, or after
  const float r = 200.0f / 255, g = 40.0f / 255, b = 90.0f / 255;
  CHECK(applied(image, view, policy, 1)[0] == doctest::Approx(.299 * 1 + .587 * 1.5 * g + .114 * 1.5 * b));
  policy.gray_first = true;
  CHECK(applied(image, view, policy, 1)[0] == doctest::Approx(1.5 * (.299 * r + .587 * g + .114 * b)));
}

TEST_CASE(
    "random erasing: timm's areas and shapes; noise or the mean inside, nothing else touched; off draws nothing") {
  ViewPolicy p = augmentation("none", 32, 3)[0];
  const Image image = noise(32, 32, 3);
  Random without(1, 1), with(1, 1);
  const ViewParameters plain = draw_view(p, 32, 32, without);
  CHECK(plain.erase_height == 0);
  const std::vector<float> before = applied(image, plain, p, 32);
  p.erase = 1;
  CHECK(draw_view(p, 32, 32, with).top == plain.top);
  double area = 0, mean = 0, square = 0, values = 0;
  for (uint64_t i = 0; i < 400; ++i) {
    Random random(2, i);
    const ViewParameters view = draw_view(p, 32, 32, random);
    REQUIRE(view.erase_height > 0);
    const double a = view.erase_height * view.erase_width, ratio = view.erase_height / view.erase_width;
    REQUIRE(within(a, 0.02, 1.0 / 3));
    REQUIRE(within(ratio, 0.3, 1 / 0.3));
    area += a / 400;
    p.erase_noise = true;
    const std::vector<float> noisy = applied(image, view, p, 32);
    CHECK(noisy == applied(image, view, p, 32));  // a function of the parameters
    p.erase_noise = false;
    const std::vector<float> flat = applied(image, view, p, 32);
    int64_t erased = 0;
    for (size_t k = 0; k < before.size(); ++k) {
      const bool inside = flat[k] == 0 && before[k] != 0;
      if (!inside) {
        REQUIRE(flat[k] == before[k]);
        REQUIRE(noisy[k] == before[k]);
        continue;
      }
      ++erased;
      mean += noisy[k];
      square += noisy[k] * noisy[k];
      ++values;
    }
    const auto h = std::round(view.erase_height * 32), w = std::round(view.erase_width * 32);
    CHECK(static_cast<double>(erased) == doctest::Approx(3 * std::min(31.0, h) * std::min(31.0, w)));
  }
  CHECK(area == doctest::Approx(0.5 * (0.02 + 1.0 / 3)).epsilon(0.1));
  CHECK(std::abs(mean / values) < 0.02);
  CHECK(square / values == doctest::Approx(1).epsilon(0.02));
}
