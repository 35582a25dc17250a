// Images made on the spot, for tests: ten kinds of shapes and patterns with random colours, places, sizes and noise, so
// that colour says nothing about the class and raw pixels little. Image i is a function of (split, i) alone.
#include <algorithm>
#include <array>
#include <cmath>

#include "ssl/data/kinds.h"
#include "tensor/random.h"

namespace tacit::ssl {

namespace {

constexpr int64_t kSide = 32, kClasses = 10;
const char* const kNames[kClasses] = {
    "disc",         "square", "triangle", "ring", "cross", "horizontal stripes", "vertical stripes", "diagonal stripes",
    "checkerboard", "dots"};

struct Form {
  double x, y, radius, period, phase;
  bool mirrored;
};

double wave(double position, const Form& f) { return std::sin(2 * M_PI * (position / f.period + f.phase)); }

/// Whether a pixel belongs to the foreground.
bool inside(int64_t kind, double x, double y, const Form& f) {
  const double dx = x - f.x, dy = y - f.y, distance = std::hypot(dx, dy),
               largest = std::max(std::abs(dx), std::abs(dy));
  switch (kind) {
    case 0:
      return distance < f.radius;
    case 1:
      return largest < 0.9 * f.radius;
    case 2:
      return dy < 0.7 * f.radius && dy > -f.radius + 1.9 * std::abs(dx);
    case 3:
      return distance < f.radius && distance > 0.6 * f.radius;
    case 4:
      return largest < f.radius && std::min(std::abs(dx), std::abs(dy)) < 0.28 * f.radius;
    case 5:
      return wave(y, f) > 0;
    case 6:
      return wave(x, f) > 0;
    case 7:
      return wave((f.mirrored ? x - y : x + y) * M_SQRT1_2, f) > 0;
    case 8:
      return wave(x, f) * wave(y, f) > 0;
    default:
      return wave(x, f) + wave(y, f) > 0.9;
  }
}

class Synthetic final : public ImageSource {
 public:
  Synthetic(int64_t n, bool test) : n_(n), test_(test) {}
  int64_t size() const override { return n_; }
  std::optional<int64_t> label(int64_t i) const override { return i % kClasses; }
  int64_t channels() const override { return 3; }
  std::pair<int64_t, int64_t> image_size() const override { return {kSide, kSide}; }
  std::vector<std::string> class_names() const override { return {kNames, kNames + kClasses}; }

  Image image(int64_t i) const override {
    Random random(0, random_stream("synthetic", test_, static_cast<uint64_t>(i)));
    Form f{};
    f.x = random.uniform(11, 21);
    f.y = random.uniform(11, 21);
    f.radius = random.uniform(7, 11);
    f.period = random.uniform(5, 9);
    f.phase = random.uniform();
    f.mirrored = random.chance(0.5);
    std::array<double, 3> front{}, back{};
    for (double contrast = 0; contrast < 0.6;) {
      contrast = 0;
      for (size_t c = 0; c < 3; ++c) {
        front[c] = random.uniform();
        back[c] = random.uniform();
        contrast += std::abs(front[c] - back[c]);
      }
    }
    Image image{kSide, kSide, 3, std::vector<uint8_t>(kSide * kSide * 3)};
    uint8_t* pixel = image.pixels.data();
    for (int64_t y = 0; y < kSide; ++y)
      for (int64_t x = 0; x < kSide; ++x) {
        const std::array<double, 3>& color =
            inside(i % kClasses, static_cast<double>(x), static_cast<double>(y), f) ? front : back;
        for (size_t c = 0; c < 3; ++c)
          *pixel++ = static_cast<uint8_t>(255 * std::clamp(color[c] + random.uniform(-0.08, 0.08), 0., 1.));
      }
    return image;
  }

 private:
  int64_t n_;
  bool test_;
};

}  // namespace

Splits open_synthetic(int64_t n) {
  Splits splits;
  splits.train = [=] { return std::make_shared<Synthetic>(n, false); };
  splits.test = [=] { return std::make_shared<Synthetic>(std::max<int64_t>(1, n / 5), true); };
  return splits;
}

}  // namespace tacit::ssl
