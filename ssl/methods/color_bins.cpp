#include "ssl/methods/color_bins.h"

#include <cmath>
#include <set>
#include <utility>
#include <vector>

#include "ssl/methods/lab.h"
#include "tensor/ops.h"

namespace tacit::ssl {

namespace {

constexpr double kSide = 10;

/// Every 8-bit colour on the surface of the RGB cube, (N, 3) in [0, 1].
Tensor surface_of_the_cube() {
  constexpr int kLevels = 256;
  std::vector<double> rgb;
  rgb.reserve(size_t{6} * kLevels * kLevels * 3);
  for (size_t axis = 0; axis < 3; ++axis)
    for (const double side : {0.0, 1.0})
      for (int u = 0; u < kLevels; ++u)
        for (int v = 0; v < kLevels; ++v) {
          double colour[3];
          colour[axis] = side;
          colour[(axis + 1) % 3] = u / (kLevels - 1.0);
          colour[(axis + 2) % 3] = v / (kLevels - 1.0);
          rgb.insert(rgb.end(), colour, colour + 3);
        }
  const auto n = static_cast<int64_t>(rgb.size() / 3);
  return Tensor::from(rgb, {n, 3}, Device("cpu"));
}

Tensor bins_in_gamut() {
  const std::vector<double> lab = rgb_to_lab(surface_of_the_cube()).to_vector<double>();
  std::set<std::pair<double, double>> found;
  for (size_t i = 0; i < lab.size(); i += 3)
    found.emplace(kSide * std::round(lab[i + 1] / kSide) + 0.0, kSide * std::round(lab[i + 2] / kSide) + 0.0);
  std::vector<double> centres;
  for (const auto& bin : found) {
    centres.push_back(bin.first);
    centres.push_back(bin.second);
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
