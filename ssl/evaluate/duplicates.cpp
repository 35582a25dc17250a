#include "ssl/evaluate/duplicates.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "ssl/evaluate/knn.h"

namespace tacit::ssl {
namespace {

/// Sets that are joined (Tarjan 1975, with path halving); the smallest member stands for a set.
class Sets {
 public:
  explicit Sets(int64_t count) : parent_(static_cast<size_t>(count)) {
    std::iota(parent_.begin(), parent_.end(), size_t{0});
  }
  size_t of(size_t i) {
    for (; parent_[i] != i; i = parent_[i]) parent_[i] = parent_[parent_[i]];
    return i;
  }
  void join(size_t a, size_t b) {
    a = of(a), b = of(b);
    parent_[std::max(a, b)] = std::min(a, b);
  }

 private:
  std::vector<size_t> parent_;
};

struct Flatness {
  bool flat;                   ///< every pixel has the colour, up to rounding
  std::vector<double> colour;  ///< the mean of each channel
};

Flatness flatness(const float* image, int64_t pixels, int64_t channels) {
  Flatness f{true, std::vector<double>(static_cast<size_t>(channels))};
  constexpr double kFlat = 1e-10;  // of the squared deviation of a pixel: rounding alone
  for (int64_t c = 0; c < channels; ++c) {
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < pixels; ++i) sum += static_cast<double>(image[i * channels + c]);
    const double mean = f.colour[static_cast<size_t>(c)] = sum / static_cast<double>(pixels);
    for (int64_t i = 0; i < pixels; ++i) squares += std::pow(static_cast<double>(image[i * channels + c]) - mean, 2);
    f.flat = f.flat && squares <= kFlat * static_cast<double>(pixels);
  }
  return f;
}

}  // namespace

double pixel_correlation(const float* a, const float* b, int64_t height, int64_t width, int64_t channels) {
  const int64_t pixels = height * width, count = pixels * channels;
  const double n = static_cast<double>(count), mean_a = std::accumulate(a, a + count, 0.0) / n,
               mean_b = std::accumulate(b, b + count, 0.0) / n;
  // One colour everywhere: nothing to correlate. By channel, or red would have the pattern of its three channels.
  const Flatness flat_a = flatness(a, pixels, channels), flat_b = flatness(b, pixels, channels);
  if (flat_a.flat && flat_b.flat) {
    for (size_t c = 0; c < flat_a.colour.size(); ++c)
      if (std::abs(flat_a.colour[c] - flat_b.colour[c]) >= 1e-3) return 0;
    return 1;
  }
  if (flat_a.flat || flat_b.flat) return 0;
  double aa = 0, bb = 0, straight = 0, mirrored = 0;
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x)
      for (int64_t c = 0; c < channels; ++c) {
        const int64_t at = (y * width + x) * channels + c, across = (y * width + width - 1 - x) * channels + c;
        const double u = a[at] - mean_a, v = b[at] - mean_b;
        aa += u * u, bb += v * v, straight += u * v, mirrored += u * (b[across] - mean_b);
      }
  return std::clamp(std::max(straight, mirrored) / std::sqrt(aa * bb), -1.0, 1.0);
}

std::vector<DuplicateGroup> duplicates(const Tensor& features, const Tensor& thumbnails, double threshold,
                                       int64_t neighbours) {
  TACIT_CHECK(
      features.rank() == 2 && thumbnails.rank() == 4 && features.size(0) > 0 && thumbnails.size(0) == features.size(0),
      "[duplicates] features must be (images, D) and thumbnails (images, H, W, C), got ", features.shape(), " and ",
      thumbnails.shape());
  const int64_t count = features.size(0);
  const std::vector<float> pixels = thumbnails.to_vector<float>();
  const auto image = [&](size_t i) { return pixels.data() + i * (pixels.size() / static_cast<size_t>(count)); };
  const Neighbours found = nearest(features, features, std::min(count, neighbours + 1));  // an image finds itself too
  Sets sets(count);
  constexpr double kNone = -2;
  std::vector<double> best(static_cast<size_t>(count), kNone);
  for (size_t row = 0; row < static_cast<size_t>(count); ++row)
    for (size_t j = row * static_cast<size_t>(found.k); j < (row + 1) * static_cast<size_t>(found.k); ++j) {
      TACIT_CHECK(std::isfinite(found.similarity[j]), "[duplicates] the features of image ", row, " are not finite");
      const auto other = static_cast<size_t>(found.index[j]);
      if (other == row) continue;
      const double similarity =
          pixel_correlation(image(row), image(other), thumbnails.size(1), thumbnails.size(2), thumbnails.size(3));
      if (similarity < threshold) continue;
      sets.join(row, other);
      best[row] = std::max(best[row], similarity);
      best[other] = std::max(best[other], similarity);
    }

  std::map<size_t, DuplicateGroup> groups;
  for (size_t i = 0; i < best.size(); ++i) {
    if (best[i] == kNone) continue;
    DuplicateGroup& group = groups[sets.of(i)];
    group.images.push_back(static_cast<int64_t>(i));
    group.similarity.push_back(best[i]);
  }
  std::vector<DuplicateGroup> sorted;
  for (auto& entry : groups) sorted.push_back(std::move(entry.second));
  const auto largest = [](const DuplicateGroup& g) {
    return *std::max_element(g.similarity.begin(), g.similarity.end());
  };
  std::stable_sort(sorted.begin(), sorted.end(),
                   [&](const DuplicateGroup& a, const DuplicateGroup& b) { return largest(a) > largest(b); });
  return sorted;
}

}  // namespace tacit::ssl
