// Features of a whole data set: images through a frozen network (or none: pixels), extracted once and kept.
// The rule: extraction changes nothing: evaluation mode for its duration, no graph, plain views in the source's order.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "nn/encoder.h"
#include "ssl/data/augment.h"
#include "ssl/data/image_source.h"
#include "ssl/evaluate/labels.h"
#include "ssl/methods/method.h"

namespace tacit::ssl {

/// One feature vector and one label an image, in the source's order.
struct FeatureSet {
  Tensor features;              ///< (N, D) f32
  std::vector<int64_t> labels;  ///< N; -1 where unknown

  int64_t size() const { return features.size(0); }
  int64_t dimensions() const { return features.size(1); }
};

/// How images become the network's input, without augmentation.
struct PlainViews {
  ViewPolicy normalisation;  ///< its mean, std and lightness are used; empty ones leave pixels in [0, 1]
  int64_t image_size = 32, channels = 3;
  int64_t batch_size = 0;  ///< images at a time; 0: by their size
  /// batch_size, or as many as are 256 images of 64 x 64 pixels, from 4 to 256: 20 of 224 x 224.
  int64_t images_at_once() const;
};

/// features(images (B, S, S, C)) -> (B, …), flattened to (B, D), over all images. Throws Error for an empty source.
FeatureSet extract_features(const std::function<Tensor(const Tensor& images)>& features, const ImageSource&,
                            const PlainViews&);
/// The encoder's output.
FeatureSet encoder_features(nn::Encoder&, const ImageSource&, const PlainViews&);
/// Those of one of its stages (Encoder::stages): "layer3", "block2". Throws Error listing them.
FeatureSet stage_features(nn::Encoder&, const std::string& stage, const ImageSource&, const PlainViews&);
/// What the method's projection head makes of it.
FeatureSet projected_features(Method&, const ImageSource&, const PlainViews&);
/// Raw pixels: the plain, normalised view itself, flattened. (Cosine similarity depends on the origin: on Fashion-MNIST
/// normalised pixels are one point better at kNN than pixels in [0, 1], and a baseline should be as good as it can.)
FeatureSet pixel_features(const ImageSource&, const PlainViews&);

/// An untrained encoder to compare with. Its running batch norm statistics are set by passing images of `train` in
/// training mode (fresh ones would be mean 0, variance 1 and make it worse than it is).
nn::Encoder random_encoder(const nn::EncoderOptions&, ImageSourcePtr train, const PlainViews&);

/// Throws Error unless both have the same number of dimensions.
void check_same_dimensions(const char* op, const FeatureSet& a, const FeatureSet& b);

/// (x - mean) / std of every dimension; the statistics come from all training images, without their labels.
class Standardizer {
 public:
  /// A dimension that hardly varies is divided by `floor` times the root mean square of all stds instead of its own.
  explicit Standardizer(const Tensor& features, double floor = 0.1);
  /// Standardised rows with a last column of ones (the bias): (n, D + 1). `rows` empty: all of them, in order.
  Tensor design(const Tensor& features, const std::vector<int64_t>& rows = {}) const;

 private:
  Tensor mean_, scale_;  // (D)
};

}  // namespace tacit::ssl
