// Images made on the spot: a bright shape on a dark ground, anywhere and of any size, with noise. Ten classes, each
// with its shape and roughly its colour, easy enough to be learned in seconds.
#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "ssl/data/sources.h"
#include "tensor/counted.h"
#include "tensor/error.h"
#include "tensor/random.h"

namespace tacit::ssl {

namespace {

constexpr int64_t kSyntheticSide = 32;
const std::vector<std::string> kShapeNames = {"disk",  "ring", "square", "frame", "triangle",
                                              "cross", "x",    "bars",   "posts", "dots"};

// Whether the point (u, v) in [-1, 1]^2 belongs to the shape.
bool inside(int64_t shape, double u, double v) {
  const double r = std::sqrt(u * u + v * v), a = std::abs(u), b = std::abs(v), m = std::max(a, b);
  switch (shape) {
    case 0:
      return r < 1;
    case 1:
      return r < 1 && r > 0.6;
    case 2:
      return m < 0.9;
    case 3:
      return m < 0.9 && m > 0.55;
    case 4:
      return v < 0.9 && a < (v + 1) / 2;
    case 5:
      return m < 1 && (a < 0.3 || b < 0.3);
    case 6:
      return m < 1 && std::abs(a - b) < 0.35;
    case 7:
      return m < 1 && std::fmod(v + 1, 0.8) < 0.4;
    case 8:
      return m < 1 && std::fmod(u + 1, 0.8) < 0.4;
    default:
      return m < 1 && std::hypot(a - 0.55, b - 0.55) < 0.38;
  }
}

class SyntheticSource final : public ImageSource {
 public:
  SyntheticSource(int64_t first, int64_t n) : first_(first), n_(n) {}
  int64_t size() const override { return n_; }
  Image image(int64_t i) const override {
    Random random(0, random_stream("synthetic", static_cast<uint64_t>(first_ + i)));
    std::array<double, 3> back{}, front{};
    for (double& c : back) c = random.uniform(0, 80);
    const double hue = static_cast<double>((first_ + i) % 10) / 10 + random.uniform(-0.03, 0.03),
                 value = random.uniform(140, 255);
    for (size_t c = 0; c < 3; ++c)
      front[c] = value * (0.5 + 0.5 * std::cos(2 * std::numbers::pi * (hue - static_cast<double>(c) / 3)));
    const double x = random.uniform(10, 22), y = random.uniform(10, 22), size = random.uniform(8, 13);
    Image image{kSyntheticSide, kSyntheticSide, 3,
                std::vector<uint8_t>(static_cast<size_t>(kSyntheticSide * kSyntheticSide * 3))};
    size_t at = 0;
    for (int64_t h = 0; h < kSyntheticSide; ++h)
      for (int64_t w = 0; w < kSyntheticSide; ++w) {
        const bool on =
            inside((first_ + i) % 10, (static_cast<double>(w) - x) / size, (static_cast<double>(h) - y) / size);
        for (size_t c = 0; c < 3; ++c) {
          const double level = (on ? front[c] : back[c]) + random.uniform(-20, 20);
          image.pixels[at++] = static_cast<uint8_t>(std::clamp(level, 0.0, 255.0));
        }
      }
    return image;
  }
  std::optional<int64_t> label(int64_t i) const override { return (first_ + i) % 10; }
  int64_t channels() const override { return 3; }
  std::pair<int64_t, int64_t> image_size() const override { return {kSyntheticSide, kSyntheticSide}; }
  std::vector<std::string> class_names() const override { return kShapeNames; }

 private:
  int64_t first_, n_;
};

}  // namespace

Opened open_synthetic(int64_t n, Split split) {
  TACIT_CHECK(split != Split::Unlabeled, "[synthetic] there is no unlabeled split; use --split train");
  const int64_t test = n >= 5 ? n / 5 : 0;
  TACIT_CHECK(split != Split::Test || test > 0, "[synthetic] ", counted(n, "image"),
              n == 1 ? " is too few" : " are too few", " for a test split; use 5 or more");
  if (split == Split::Train) return {std::make_shared<SyntheticSource>(0, n - test)};
  if (split == Split::Test) return {std::make_shared<SyntheticSource>(n - test, test)};
  return {std::make_shared<SyntheticSource>(0, n)};
}

}  // namespace tacit::ssl
