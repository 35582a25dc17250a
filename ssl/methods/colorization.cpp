#include "ssl/methods/colorization.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "autograd/ops.h"
#include "ssl/methods/batch_metrics.h"
#include "ssl/methods/color_bins.h"
#include "ssl/methods/lab.h"
#include "tensor/counted.h"
#include "tensor/srgb.h"

namespace tacit::ssl {

namespace {

constexpr double kAbScale = 110;  // regression predicts ab / 110, about -1 … 1

int64_t side_of_map(nn::Encoder& encoder, int64_t image_size) {
  const NoGrad no_grad;
  encoder.eval();
  const int64_t side = encoder.map(Tensor::zeros({1, image_size, image_size, 1})).size(1);
  encoder.train();
  return side;
}

/// (size, side): row p interpolates between the rows of a map whose row i stands at p = i * stride.
Tensor interpolation(int64_t size, int64_t side, int64_t stride, const Tensor& like) {
  std::vector<double> rows(static_cast<size_t>(size * side), 0.0);
  for (int64_t p = 0; p < size; ++p) {
    const int64_t i = std::min(p / stride, side - 1), next = std::min(i + 1, side - 1);
    const double share = static_cast<double>(p - i * stride) / static_cast<double>(stride);
    rows[static_cast<size_t>(p * side + i)] += 1 - share;
    rows[static_cast<size_t>(p * side + next)] += share;
  }
  return Tensor::from(rows, {size, side}, like.device()).to(like.dtype());
}

}  // namespace

Colorization::Colorization(nn::Encoder encoder, ColorizationOptions options)
    : options_(std::move(options)),
      side_((options_.image_size + options_.stride - 1) / options_.stride),
      encoder_(std::move(encoder)),
      decoder_({.in = encoder_.features(),
                .map = side_of_map(encoder_, options_.image_size),
                .target = side_,
                .width = options_.width,
                .out = classifies() ? color_bins().size(0) : 2,
                .seed = options_.seed}) {
  const int64_t bins = color_bins().size(0);
  TACIT_CHECK(options_.neighbours > 0 && options_.neighbours <= bins, "[colorization] a soft code has 1 to ", bins,
              " bins, got ", options_.neighbours);
  TACIT_CHECK(options_.uniform > 0 && options_.uniform <= 1,
              "[colorization] the uniform share must lie in (0, 1], got ", options_.uniform);
  prior_ = nearest_ = nn::Buffer(Tensor::full({bins}, 1.0 / static_cast<double>(bins)));
}

Colorization::Target Colorization::target(const Tensor& rgb) const {
  const int64_t size = options_.image_size, stride = options_.stride;
  TACIT_CHECK(rgb.rank() == 4 && rgb.size(1) == size && rgb.size(2) == size && rgb.size(3) == 3,
              "[colorization] needs RGB images (B, ", size, ", ", size, ", 3), got ", rgb.shape());
  const Tensor seen = rgb.slice(1, 0, size, stride).slice(2, 0, size, stride);
  Target t;
  t.ab = rgb_to_lab(seen).slice(3, 1, 3);
  t.coloured = greater(amax(abs(t.ab), {1, 2, 3}), Tensor::scalar(options_.gray, rgb.dtype(), rgb.device()));
  t.coloured = t.coloured.to(rgb.dtype());
  t.pixels = sum(t.coloured) * static_cast<double>(side_ * side_);
  return t;
}

Variable Colorization::predict(const Tensor& rgb, Variable* map) {
  *map = encoder_.map((rgb_to_lightness(rgb) - kLightnessMean) / kLightnessScale);
  return decoder_(*map);
}

Variable Colorization::loss(const std::vector<Tensor>& views, const Progress&) {
  TACIT_CHECK(views.size() == 1, "[colorization] needs one view, got ", views.size());
  const Target t = target(views[0]);
  Variable map;
  const Variable out = predict(views[0], &map);
  metrics_["feature_std"] = feature_spread(global_avg_pool(map).value());
  return classifies() ? classification(out, t) : regression(out, t);
}

Tensor Colorization::each_pixel(const Tensor& per_image) const {
  const int64_t n = per_image.size(0);
  return per_image.unsqueeze(1).broadcast_to({n, side_ * side_}).reshape({n * side_ * side_});
}

Tensor Colorization::pixel_shares(const Target& t) const {
  return each_pixel(t.coloured) / maximum(t.pixels, Tensor::ones({}, t.pixels.dtype(), t.pixels.device()));
}

Tensor Colorization::bins_like(const Tensor& x) const { return color_bins().to(x.device()).to(x.dtype()); }

Variable Colorization::classification(const Variable& out, const Target& t) {
  const Variable logits = reshape(out, {-1, out.size(3)});
  const SoftCode code = soft_encode(t.ab.reshape({-1, 2}), bins_like(t.ab), options_.neighbours, options_.sigma);
  const Tensor nearest = code.index.select(1, 0).contiguous_copy_if_needed();
  const Tensor counts = pixel_shares(t);
  const Tensor weight =
      index_select(rebalancing_weights(prior().to(counts.dtype()), options_.uniform), 0, nearest) * counts;
  metrics_["pretext_top1"] = sum(equal(argmax(logits.value()), nearest).to(counts.dtype()) * counts);
  return -sum(gather(log_softmax(logits), 1, code.index) * Variable(code.weight * weight.unsqueeze(1)));
}

Variable Colorization::regression(const Variable& out, const Target& t) const {
  const Variable error = square(reshape(out, {-1, 2}) - Variable(t.ab.reshape({-1, 2}) / kAbScale));
  return sum(error * Variable((pixel_shares(t) / 2.0).unsqueeze(1)));
}

void Colorization::prepare(const std::function<std::vector<Tensor>()>& next_views, int64_t images) {
  std::vector<double> mass(static_cast<size_t>(prior().size(0)), 0.0), count = mass;
  int64_t seen = 0, pixels = 0;
  while (seen < std::min(images, kPriorImages)) {
    const Tensor rgb = next_views().at(0);
    seen += rgb.size(0);
    const Target t = target(rgb);
    const int64_t coloured = std::llround(t.pixels.item());
    if (coloured == 0) continue;
    const SoftCode code = soft_encode(t.ab.reshape({-1, 2}), bins_like(t.ab), options_.neighbours, options_.sigma);
    const std::vector<int64_t> index = code.index.to_vector<int64_t>();
    const std::vector<float> weight = (code.weight * each_pixel(t.coloured).unsqueeze(1)).to(f32).to_vector<float>();
    const auto k = static_cast<size_t>(options_.neighbours);
    for (size_t i = 0; i < index.size(); ++i) {
      mass[static_cast<size_t>(index[i])] += static_cast<double>(weight[i]);
      if (i % k == 0 && weight[i] > 0) ++count[static_cast<size_t>(index[i])];
    }
    pixels += coloured;
  }
  const int64_t looked_at = std::min(seen, images);
  TACIT_CHECK(pixels > 0, "[colorization] the first ", counted(looked_at, "image"), looked_at == 1 ? " is" : " are all",
              " gray (no |a| or |b| above ", options_.gray,
              "): colorization on gray data learns nothing; give --data colour images");
  const auto shares = [](const std::vector<double>& values) {
    const double total = std::accumulate(values.begin(), values.end(), 0.0);
    return Tensor::from(values, {static_cast<int64_t>(values.size())}) / total;
  };
  set_prior(shares(mass));
  nearest_.value().copy_(shares(count));
}

void Colorization::set_prior(const Tensor& prior) {
  TACIT_CHECK(prior.shape() == prior_.value().shape(), "[colorization] a prior has ", prior_.value().size(0),
              " entries, got shape ", prior.shape());
  prior_.value().copy_(prior);
}

Variable Colorization::project(const Variable&) {
  throw Error(
      "[colorization] its decoder takes the encoder's map, not its features, so there is no projection of these; use "
      "the encoder's features");
}

Chance Colorization::chance(int64_t) const {
  const Tensor& bins = color_bins();
  const auto q = static_cast<double>(bins.size(0));
  const Tensor nearest = nearest_.value().to(f64);
  if (classifies())
    return {std::log(q) * sum(nearest * rebalancing_weights(prior().to(f64), options_.uniform)).item(), 1 / q};
  const std::vector<double> centres = bins.to_vector<double>(), p = nearest.to_vector<double>();
  double loss = 0;
  for (size_t i = 0; i < p.size(); ++i)
    loss += p[i] * (centres[2 * i] * centres[2 * i] + centres[2 * i + 1] * centres[2 * i + 1]);
  return {loss / (2 * kAbScale * kAbScale), 0};
}

std::vector<std::string> Colorization::describe(int64_t, int64_t) const {
  const std::vector<double> p = nearest_.value().to(f64).to_vector<double>(),
                            centres = color_bins().to_vector<double>();
  const auto most = static_cast<size_t>(std::max_element(p.begin(), p.end()) - p.begin());
  const auto text = [](double x) { return std::to_string(std::llround(x)); };
  return {"colours     " + std::to_string(p.size()) + " bins of ab, for " + std::to_string(side_) + " x " +
          std::to_string(side_) + " pixels of an image; the most frequent, a " + text(centres[2 * most]) + ", b " +
          text(centres[2 * most + 1]) + ", has " + text(100 * p[most]) + " % of them"};
}

Tensor Colorization::colorize(const Tensor& rgb) {
  const NoGrad no_grad;
  Variable map;
  const Tensor out = predict(rgb, &map).value();
  const Tensor ab = classifies() ? annealed_mean(out, bins_like(out), options_.temperature) : out * kAbScale;
  const Tensor rows = interpolation(options_.image_size, side_, options_.stride, ab);
  const Tensor full = matmul(matmul(rows, ab.permute({0, 3, 1, 2})), rows.t()).permute({0, 2, 3, 1});
  return lab_to_rgb(concatenate(std::vector<Tensor>{rgb_to_lightness(rgb), full}, 3));
}

std::vector<PictureColumn> Colorization::reconstruct(const Tensor& rgb, uint64_t) {
  return {{"gray", lightness_as_gray(rgb)}, {"prediction", colorize(rgb)}, {"original", rgb}};
}

void Colorization::visit(nn::Visitor& v) {
  v("encoder", encoder_);
  v("decoder", decoder_);
  v("prior", prior_);
  v("nearest", nearest_);
}

}  // namespace tacit::ssl
