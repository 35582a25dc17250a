// Colorization (Zhang, Isola & Efros: "Colorful Image Colorization", ECCV 2016; code: richzhang/colorization).
//   X = (L - 50) / 50 of a view;  Y = its ab at every stride-th pixel (the first of each stride x stride square)
//   Z = soft code of Y over the bins of ab;  w = rebalancing weight of Y's nearest bin, by the prior of the data
//   loss = - sum over pixels of w(pixel) Z log softmax(decoder(encoder map(X))), over their number
//   colours: softmax(logits / 0.38) times the bins' centres
// Variants chosen here: 261 bins, those in the gamut (color_bins.h); five neighbours (the paper; the code has ten) at
// sigma 5; the weight stands in the loss itself (the paper's eq. 2; the code puts it into the gradient alone, which is
// the same training); images in which no |a| or |b| exceeds 5 are gray and left out, as in the code. The prior is the
// mean soft code of the first 4,096 training images, which smooths it (the paper smooths a histogram by the same
// Gaussian), before the first step; it is a buffer. `loss` "regression" is the paper's L2 baseline (eq. 1): the mean of
// |ab / 110 - prediction|² / 2 over the pixels, without bins or weights.
#pragma once

#include "ssl/methods/color_decoder.h"
#include "ssl/methods/method.h"

namespace tacit::ssl {

struct ColorizationOptions {
  std::string loss = "classification";  ///< or "regression"
  int64_t image_size = 32;
  int64_t stride = 4;      ///< a prediction for every so many-th pixel each way
  int64_t width = 64;      ///< channels of the decoder
  int64_t neighbours = 5;  ///< bins of a soft code
  double sigma = 5;        ///< of a soft code
  double uniform = 0.5;    ///< share of the uniform distribution in the prior that weights are made of; 1: no weights
  double temperature = 0.38;
  double gray = 5;  ///< an image is gray where no |a| and no |b| exceeds this
  uint64_t seed = 0;
};

class Colorization : public Method {
 public:
  /// The encoder takes one channel and has a map (Encoder::map). Throws Error where it has none.
  Colorization(nn::Encoder encoder, ColorizationOptions options);
  /// One view, RGB in [0, 1] (B, S, S, 3). 0 where every image of it is gray.
  Variable loss(const std::vector<Tensor>& views, const Progress&) override;
  /// Measures the prior on the first kPriorImages images of training. Throws Error where they are all gray.
  void prepare(const std::function<std::vector<Tensor>()>& next_views, int64_t images) override;
  nn::Encoder& encoder() override { return encoder_; }
  /// Throws Error: the decoder takes the map.
  Variable project(const Variable& features) override;
  /// Of a uniform prediction: log Q times the pixels' mean weight, which is near 1 for colours as spread as
  /// photographs' and smaller for few ones: weights have mean 1 under the prior, a pixel's weight is that of its
  /// nearest bin. Regression: of gray everywhere, each pixel at the centre of its bin.
  Chance chance(int64_t batch_size) const override;
  std::string why_not_captured() const override { return ""; }
  std::map<std::string, Tensor> metrics() const override { return metrics_; }
  std::vector<std::string> describe(int64_t images, int64_t batch_size) const override;
  /// RGB (N, S, S, 3) in [0, 1] -> the same with the predicted colours on the images' own lightness. Put the method
  /// into evaluation mode before.
  Tensor colorize(const Tensor& rgb);
  /// "gray", "prediction", "original".
  std::vector<PictureColumn> reconstruct(const Tensor& rgb, uint64_t seed) override;
  const Tensor& prior() const { return prior_.value(); }
  void set_prior(const Tensor& prior);
  void visit(nn::Visitor& v) override;

  static constexpr int64_t kPriorImages = 4096;

 private:
  /// What is to be predicted, and for which images.
  struct Target {
    Tensor ab;        ///< (B, t, t, 2)
    Tensor coloured;  ///< (B), 1 or, for a gray image, 0
    Tensor pixels;    ///< of the coloured images, one number
  };
  Target target(const Tensor& rgb) const;
  /// A value an image -> the same for each of its pixels, (B * t * t).
  Tensor each_pixel(const Tensor& per_image) const;
  /// Each pixel's share of the mean over the coloured images' pixels, (B * t * t).
  Tensor pixel_shares(const Target&) const;
  Variable classification(const Variable& out, const Target&);
  Variable regression(const Variable& out, const Target&) const;
  Variable predict(const Tensor& rgb, Variable* map);
  bool classifies() const { return options_.loss == "classification"; }
  Tensor bins_like(const Tensor& x) const;

  ColorizationOptions options_;
  int64_t side_;  // of the target
  nn::Encoder encoder_;
  ColorDecoder decoder_;
  nn::Buffer prior_, nearest_;  // (Q): the pixels' mean soft code; the share of those whose nearest bin it is
  std::map<std::string, Tensor> metrics_;
};

}  // namespace tacit::ssl
