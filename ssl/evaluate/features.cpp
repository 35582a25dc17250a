#include "ssl/evaluate/features.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "autograd/ops.h"
#include "nn/eval_mode.h"
#include "ssl/data/loader.h"
#include "ssl/evaluate/rows_at_once.h"
#include "tensor/ops.h"
#include "tensor/random.h"

namespace tacit::ssl {
namespace {

constexpr int64_t kStatisticsBatches = 50;  // (1 - 0.1)^50: half a percent of the initial 0 and 1 is left

bool all_finite(const Tensor& x) { return sum(x * 0.0).item_is_finite(); }  // 0 times NaN or infinity is NaN

}  // namespace

int64_t PlainViews::images_at_once() const {
  if (batch_size > 0) return batch_size;
  constexpr int64_t kMost = 256, kLeast = 4, kPixels = kMost * 64 * 64;
  return std::clamp(kPixels / std::max<int64_t>(1, image_size * image_size), kLeast, kMost);
}

FeatureSet extract_features(const std::function<Tensor(const Tensor&)>& features, const ImageSource& source,
                            const PlainViews& views) {
  TACIT_CHECK(source.size() > 0, "[features] the data has no images");
  NoGrad guard;
  FeatureSet set;
  set.labels = labels_of(source);
  for_each_plain_batch(source, views.normalisation, views.image_size, views.channels, views.images_at_once(),
                       [&](const Tensor& images, int64_t first) {
                         const Tensor y = widen(features(images)).reshape({images.size(0), -1});
                         TACIT_CHECK(all_finite(y),
                                     "[features] the network makes values that are NaN or infinite (images ", first,
                                     " … ", first + y.size(0) - 1, "): its training has diverged");
                         if (!set.features.defined()) set.features = Tensor::empty({source.size(), y.size(1)});
                         set.features.slice(0, first, first + y.size(0)).copy_(y);
                       });
  return set;
}

FeatureSet encoder_features(nn::Encoder& encoder, const ImageSource& source, const PlainViews& views) {
  nn::EvalMode mode(encoder);
  return extract_features([&](const Tensor& images) { return encoder(images).value(); }, source, views);
}

FeatureSet stage_features(nn::Encoder& encoder, const std::string& stage, const ImageSource& source,
                          const PlainViews& views) {
  nn::EvalMode mode(encoder);
  return extract_features([&](const Tensor& images) { return encoder.stage(stage, images).value(); }, source, views);
}

FeatureSet projected_features(Method& method, const ImageSource& source, const PlainViews& views) {
  nn::EvalMode mode(method);
  return extract_features([&](const Tensor& images) { return method.project(method.encoder()(images)).value(); },
                          source, views);
}

FeatureSet pixel_features(const ImageSource& source, const PlainViews& views) {
  return extract_features([](const Tensor& images) { return images; }, source, views);
}

static bool has_running_statistics(nn::Encoder& encoder) {
  const auto buffers = encoder.named_buffers();  // a ViT's fixed positions are one too
  return std::any_of(buffers.begin(), buffers.end(),
                     [](const auto& named) { return named.first.ends_with("running_mean"); });
}

nn::Encoder random_encoder(const nn::EncoderOptions& options, ImageSourcePtr train, const PlainViews& views) {
  TACIT_CHECK(train && train->size() > 0, "[random encoder] the training data has no images");
  nn::Encoder encoder = nn::make_encoder(options);
  if (has_running_statistics(encoder)) {
    // Images are drawn with replacement: files are often sorted by class, and small sets must fill the batches too.
    const auto count = static_cast<uint64_t>(train->size());
    std::vector<int64_t> chosen(static_cast<size_t>(kStatisticsBatches * views.images_at_once()));
    Random random(options.seed, random_stream("batch norm statistics"));
    for (int64_t& i : chosen) i = static_cast<int64_t>(random.below(count));
    encoder.train();
    extract_features([&](const Tensor& images) { return encoder(images).value(); }, *subset(train, chosen), views);
  }
  encoder.eval();
  return encoder;
}

void check_same_dimensions(const char* op, const FeatureSet& a, const FeatureSet& b) {
  TACIT_CHECK(a.features.rank() == 2 && b.features.rank() == 2 && a.dimensions() == b.dimensions(), "[", op,
              "] features of shapes ", a.features.shape(), " and ", b.features.shape(),
              " cannot be compared; they need one number of dimensions");
}

Standardizer::Standardizer(const Tensor& features, double floor) {
  TACIT_CHECK(features.rank() == 2 && features.numel() > 0, "[standardize] features must be (N, D), got shape ",
              features.shape());
  const auto statistics = moments(features);
  mean_ = statistics.mean;
  std::vector<float> scale = statistics.var.to(f32).to_vector<float>();
  const double mean_variance = std::accumulate(scale.begin(), scale.end(), 0.0) / static_cast<double>(scale.size());
  TACIT_CHECK(std::isfinite(mean_variance), "[standardize] the features hold NaN or infinite values");
  const double least = floor * std::sqrt(mean_variance);
  for (float& s : scale) {
    const double deviation = std::max(std::sqrt(static_cast<double>(s)), least);
    s = deviation > 0 ? static_cast<float>(1 / deviation) : 0.0f;  // constant features say nothing
  }
  scale_ = Tensor::from(scale, {features.size(1)}, features.device());
}

Tensor Standardizer::design(const Tensor& features, const std::vector<int64_t>& rows) const {
  TACIT_CHECK(features.rank() == 2 && features.size(1) == mean_.size(0), "[standardize] statistics are of ",
              mean_.size(0), " dimensions, features have shape ", features.shape());
  const int64_t n = rows.empty() ? features.size(0) : static_cast<int64_t>(rows.size()), d = features.size(1);
  Tensor out = Tensor::ones({n, d + 1}, f32, features.device());
  for (int64_t lo = 0; lo < n; lo += kRowsAtOnce) {
    const int64_t hi = std::min(n, lo + kRowsAtOnce);
    const Tensor block = rows.empty() ? features.slice(0, lo, hi)
                                      : index_select(features, 0,
                                                     Tensor::from(std::span<const int64_t>(rows).subspan(lo, hi - lo),
                                                                  {hi - lo}, features.device()));
    out.slice(0, lo, hi).slice(1, 0, d).copy_((block - mean_) * scale_);
  }
  return out;
}

}  // namespace tacit::ssl
