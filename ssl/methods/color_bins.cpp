#include "ssl/methods/color_bins.h"

#include <cmath>
#include <set>
#include <utility>
#include <vector>

#include "ssl/methods/lab.h"
#include "tensor/ops.h"

namespace tacit::ssl {

namespace {

constexpr int kSide = 10;

/// The 8-bit colours of one face of the RGB cube, (N, 3) in [0, 1]: channel `axis` is `value`.
Tensor face_of_the_cube(size_t axis, float value) {
  constexpr int kLevels = 256;
  std::vector<float> rgb;
  rgb.reserve(size_t{3} * kLevels * kLevels);
  for (int u = 0; u < kLevels; ++u)
    for (int v = 0; v < kLevels; ++v) {
      float colour[3];
      colour[axis] = value;
      colour[(axis + 1) % 3] = static_cast<float>(u) / (kLevels - 1);
      colour[(axis + 2) % 3] = static_cast<float>(v) / (kLevels - 1);
      rgb.insert(rgb.end(), colour, colour + 3);
    }
  return Tensor::from(rgb, {kLevels * kLevels, 3}, Device("cpu"));
}

// f32 suffices: every bin holds dozens of colours, and the nearest colour outside stays .05 away from a bin's edge.
Tensor bins_in_gamut() {
  std::set<std::pair<int, int>> found;
  for (size_t axis = 0; axis < 3; ++axis)
    for (const float value : {0.0f, 1.0f}) {
      const std::vector<float> lab = rgb_to_lab(face_of_the_cube(axis, value)).to_vector<float>();
      for (size_t i = 0; i < lab.size(); i += 3)
        found.emplace(static_cast<int>(std::lround(lab[i + 1] / kSide)),
                      static_cast<int>(std::lround(lab[i + 2] / kSide)));
    }
  std::vector<double> centres;
  for (const auto& bin : found) {
    centres.push_back(kSide * bin.first);
    centres.push_back(kSide * bin.second);
  }
  return Tensor::from(centres, {static_cast<int64_t>(found.size()), 2}, Device("cpu"));
}

}  // namespace

const Tensor& color_bins() {
  static const Tensor bins = bins_in_gamut();
  return bins;
}

SoftCode soft_encode(const Tensor& ab, const Tensor& bins, int64_t k, double sigma) {
  const Tensor da = ab.slice(1, 0, 1) - bins.select(1, 0), db = ab.slice(1, 1, 2) - bins.select(1, 1);
  const auto nearest = top_k(neg(da * da + db * db), k);
  return {nearest.second, softmax(nearest.first / (2 * sigma * sigma))};
}

Tensor rebalancing_weights(const Tensor& prior, double uniform) {
  const Tensor w = 1.0 / (prior * (1 - uniform) + uniform / static_cast<double>(prior.size(0)));
  return w / sum(prior * w);
}

Tensor annealed_mean(const Tensor& logits, const Tensor& bins, double temperature) {
  return matmul(softmax(logits / temperature), bins);
}

}  // namespace tacit::ssl
