#include "ssl/train/mixup.h"

#include <algorithm>
#include <cmath>

#include "autograd/ops.h"
#include "tensor/random.h"

namespace tacit::ssl {

namespace {

double positive_uniform(Random& random) { return 1 - random.uniform(); }  // in (0, 1]

/// log of a Gamma(alpha, 1) draw: Marsaglia & Tsang (ACM TOMS 2000) for alpha + 1, brought down to alpha by its u^(1 /
/// alpha). As a logarithm it does not underflow for small alpha.
double log_gamma_draw(double alpha, Random& random) {
  const double d = alpha + 1 - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  for (;;) {
    const double x = random.normal(), v = std::pow(1 + c * x, 3);
    const double u = positive_uniform(random);
    if (v <= 0 || std::log(u) >= x * x / 2 + d - d * v + d * std::log(v)) continue;
    return std::log(d * v) + std::log(positive_uniform(random)) / alpha;
  }
}

double beta_draw(double alpha, Random& random) {
  const double x = log_gamma_draw(alpha, random), y = log_gamma_draw(alpha, random);
  return 1 / (1 + std::exp(y - x));
}

Tensor mirrored(const Tensor& batch) {
  const int64_t n = batch.size(0);
  std::vector<int64_t> order;
  for (int64_t i = n; i > 0; --i) order.push_back(i - 1);
  return index_select(batch, 0, Tensor::from(order, {n}, batch.device()));
}

}  // namespace

Mix draw_mix(const MixOptions& options, int64_t height, int64_t width, uint64_t seed, int64_t step) {
  TACIT_CHECK(options.mixup >= 0 && options.cutmix >= 0, "[mixup] alphas must not be negative, got ", options.mixup,
              " and ", options.cutmix);
  Mix mix;
  if (!options.on()) return mix;
  Random random(seed, random_stream("mixup", static_cast<uint64_t>(step)));
  mix.cut = options.cutmix > 0 && (options.mixup == 0 || random.chance(options.cutmix_share));
  mix.lambda = beta_draw(mix.cut ? options.cutmix : options.mixup, random);
  if (!mix.cut) return mix;
  const auto y = static_cast<int64_t>(random.below(static_cast<uint64_t>(height)));
  return cut_box(mix.lambda, height, width, y, static_cast<int64_t>(random.below(static_cast<uint64_t>(width))));
}

Mix cut_box(double lambda, int64_t height, int64_t width, int64_t centre_y, int64_t centre_x) {
  const auto span = [side = std::sqrt(1 - lambda)](int64_t size, int64_t centre) {
    const auto length = static_cast<int64_t>(side * static_cast<double>(size));
    return std::pair(std::max<int64_t>(0, centre - length / 2), std::min(size, centre + (length + 1) / 2));
  };
  const auto rows = span(height, centre_y), columns = span(width, centre_x);
  Mix mix;
  mix.cut = true;
  mix.top = rows.first;
  mix.left = columns.first;
  mix.height = rows.second - rows.first;
  mix.width = columns.second - columns.first;
  mix.lambda = 1 - static_cast<double>(mix.height * mix.width) / static_cast<double>(height * width);
  return mix;
}

Tensor mix_images(const Tensor& images, const Mix& mix) {
  if (mix.lambda == 1) return images;
  const Tensor partners = mirrored(images);
  if (!mix.cut) return images * mix.lambda + partners * (1 - mix.lambda);
  const auto box = [&](const Tensor& x) {
    return x.slice(1, mix.top, mix.top + mix.height).slice(2, mix.left, mix.left + mix.width);
  };
  const Tensor mixed = images.clone();
  box(mixed).copy_(box(partners));
  return mixed;
}

Variable mixed_cross_entropy(const Variable& logits, const Tensor& labels, const Mix& mix, double smoothing) {
  const Variable own = cross_entropy(logits, labels, smoothing);
  if (mix.lambda == 1) return own;
  return own * mix.lambda + cross_entropy(logits, mirrored(labels), smoothing) * (1 - mix.lambda);
}

}  // namespace tacit::ssl
