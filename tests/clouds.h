// Test features with a known structure: one normal cloud a class.
#pragma once

#include "ssl/evaluate/features.h"

namespace tacit::ssl {

/// Normal clouds around one centre a class, `spread` wide; row i has class i % classes. The same centres at every seed.
inline FeatureSet clouds(int64_t n, int64_t d, int64_t classes, double spread, uint64_t seed) {
  const auto noise = Tensor::normal({n, d}, seed, 1).to_vector<float>();
  const auto centres = Tensor::normal({classes, d}, 7, 2).to_vector<float>();
  std::vector<float> x(noise.size());
  FeatureSet set;
  for (int64_t i = 0; i < n; ++i) {
    set.labels.push_back(i % classes);
    for (int64_t j = 0; j < d; ++j)
      x[i * d + j] = centres[(i % classes) * d + j] + static_cast<float>(spread) * noise[i * d + j];
  }
  set.features = Tensor::from(x, {n, d});
  return set;
}

}  // namespace tacit::ssl
