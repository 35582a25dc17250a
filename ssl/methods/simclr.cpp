#include "ssl/methods/simclr.h"

#include <cmath>
#include <limits>

#include "autograd/ops.h"
#include "ssl/methods/batch_metrics.h"

namespace tacit::ssl {

// loss = mean over i of lse_j≠i(s[i][j]) - s[i][partner(i)],  s = z zᵀ / temperature
Variable nt_xent(const Variable& z, double temperature, Tensor* top1) {
  TACIT_CHECK(temperature > 0, "[nt_xent] the temperature must be above 0, got ", temperature);
  TACIT_CHECK(z.rank() == 2 && z.size(0) % 2 == 0 && z.size(0) >= 4, "[nt_xent] needs the views of at least 2 images, ",
              "(2N, D) with N >= 2, got ", z.shape(), "; with one image there is no negative to tell it from");
  const int64_t rows = z.size(0);
  const Device device = z.value().device();
  const Tensor index = Tensor::arange(rows, i64, device);
  const Tensor self = equal(index.unsqueeze(1), index.unsqueeze(0));
  const Tensor never = Tensor::scalar(-std::numeric_limits<double>::infinity(), z.dtype(), device);
  std::vector<int64_t> partner(static_cast<size_t>(rows));
  for (int64_t i = 0; i < rows; ++i) partner[static_cast<size_t>(i)] = (i + rows / 2) % rows;

  const Variable similarity = matmul(z, transpose(z, 0, 1)) / temperature;
  const Variable logits = where(self, never, similarity);
  const Tensor labels = Tensor::from(partner, {rows}, device);
  if (top1) *top1 = top1_of(logits.value(), labels);
  return cross_entropy(logits, labels);
}

SimCLR::SimCLR(nn::Encoder encoder, SimCLROptions options)
    : options_(std::move(options)),
      encoder_(std::move(encoder)),
      projector_(encoder_.features(), options_.projector,
                 {.batch_norm = options_.projector_batch_norm, .seed = options_.seed, .path = "projector"}) {
  TACIT_CHECK(options_.temperature > 0, "[SimCLR] the temperature must be above 0, got ", options_.temperature);
}

Variable SimCLR::loss(const std::vector<Tensor>& views, const Progress&) {
  TACIT_CHECK(views.size() == 2 && views[0].shape() == views[1].shape(),
              "[SimCLR] needs two views of one shape (B, H, W, C), got ", views.size());
  const Variable h = encoder_(concatenate(views, 0));
  feature_std_ = feature_spread(h.value());
  return nt_xent(l2_normalize(projector_(h)), options_.temperature, &top1_);
}

Variable SimCLR::project(const Variable& features) { return projector_(features); }

Chance SimCLR::chance(int64_t batch_size) const {
  const auto others = static_cast<double>(2 * batch_size - 1);
  return {std::log(others), 1 / others};
}

std::map<std::string, Tensor> SimCLR::metrics() const {
  if (!feature_std_.defined()) return {};
  return {{"feature_std", feature_std_}, {"pretext_top1", top1_}};
}

void SimCLR::visit(nn::Visitor& v) {
  v("encoder", encoder_);
  v("projector", projector_);
}

}  // namespace tacit::ssl
