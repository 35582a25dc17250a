// Images made on the spot: a shape in a colour on a background of another, anywhere and of any size, with noise. Ten
// classes that raw pixels hardly tell apart and that neither mirroring nor other colours change.
#include <algorithm>
#include <array>
#include <cmath>

#include "ssl/data/sources.h"
#include "tensor/error.h"
#include "tensor/random.h"

namespace tacit::ssl {

namespace {

constexpr int64_t kSide = 32;
const std::vector<std::string> kNames = {"disk",  "ring", "square", "frame", "triangle",
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
  SyntheticSource(int64_t n, uint64_t split) : n_(n), split_(split) {}
  int64_t size() const override { return n_; }
  Image image(int64_t i) const override {
    Random random(0, random_stream("synthetic", split_, static_cast<uint64_t>(i)));
    std::array<double, 3> back{}, front{};
    for (double& c : back) c = random.uniform(0, 255);
    // Far enough from the background in every channel to be seen.
    for (size_t c = 0; c < 3; ++c) front[c] = std::fmod(back[c] + random.uniform(80, 175), 255);
    const double x = random.uniform(10, 22), y = random.uniform(10, 22), size = random.uniform(6, 10);
    Image image{kSide, kSide, 3, std::vector<uint8_t>(static_cast<size_t>(kSide * kSide * 3))};
    size_t at = 0;
    for (int64_t h = 0; h < kSide; ++h)
      for (int64_t w = 0; w < kSide; ++w) {
        const bool on = inside(i % 10, (static_cast<double>(w) - x) / size, (static_cast<double>(h) - y) / size);
        for (size_t c = 0; c < 3; ++c) {
          const double value = (on ? front[c] : back[c]) + random.uniform(-20, 20);
          image.pixels[at++] = static_cast<uint8_t>(std::clamp(value, 0.0, 255.0));
        }
      }
    return image;
  }
  std::optional<int64_t> label(int64_t i) const override { return i % 10; }
  int64_t channels() const override { return 3; }
  std::pair<int64_t, int64_t> image_size() const override { return {kSide, kSide}; }
  std::vector<std::string> class_names() const override { return kNames; }

 private:
  int64_t n_;
  uint64_t split_;
};

}  // namespace

Opened open_synthetic(int64_t n, Split split) {
  TACIT_CHECK(split != Split::Unlabeled, "[synthetic] there is no unlabeled split");
  const auto train = std::make_shared<SyntheticSource>(n, 0);
  const auto test = std::make_shared<SyntheticSource>(std::max<int64_t>(n / 5, 10), 1);
  if (split == Split::Train) return {train};
  if (split == Split::Test) return {test};
  return {concatenate_sources({train, test})};
}

}  // namespace tacit::ssl
