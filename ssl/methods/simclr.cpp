#include "ssl/methods/simclr.h"

#include <cmath>

#include "autograd/ops.h"
#include "nn/norm.h"
#include "ssl/methods/batch_metrics.h"

namespace tacit::ssl {

SimCLR::SimCLR(nn::Encoder encoder, SimCLROptions options)
    : options_(std::move(options)),
      encoder_(std::move(encoder)),
      projector_(encoder_.features(), options_.projector,
                 {.batch_norm = options_.projector_batch_norm, .seed = options_.seed, .path = "projector"}) {
  TACIT_CHECK(options_.temperature > 0, "[SimCLR] the temperature must be above 0, got ", options_.temperature);
  TACIT_CHECK(options_.chunk_size >= 0, "[SimCLR] the chunk size must not be negative, got ", options_.chunk_size);
}

Variable SimCLR::loss(const std::vector<Tensor>& views, const Progress&) {
  TACIT_CHECK(views.size() == 2 && views[0].shape() == views[1].shape(),
              "[SimCLR] needs two views of one shape (B, H, W, C), got ", views.size());
  if (options_.chunk_size > 0) return chunked_loss(views);
  const Variable h = encoder_(concatenate(views, 0));
  feature_std_ = feature_spread(h.value());
  return nt_xent(l2_normalize(projector_(h)), options_.temperature, &top1_);
}

Variable SimCLR::chunked_loss(const std::vector<Tensor>& views) {
  const int64_t images = views[0].size(0), size = options_.chunk_size, chunks = images / size;
  TACIT_CHECK(images % size == 0, "[SimCLR] chunks of ", size, " images do not divide a batch of ", images);
  // Both views of the chunk's images; `rows` picks a chunk's rows, of both views, from those of the batch.
  const auto chunk = [=](int64_t i) {
    return concatenate(
        std::vector<Tensor>{views[0].slice(0, i * size, (i + 1) * size), views[1].slice(0, i * size, (i + 1) * size)},
        0);
  };
  const auto rows = [=](const Tensor& all, int64_t i, int64_t view) {
    return all.slice(0, view * images + i * size, view * images + (i + 1) * size);
  };
  Tensor z, h;
  {
    const NoGrad no_graph;
    const nn::KeepRunningStatistics first_of_two_passes;
    for (int64_t i = 0; i < chunks; ++i) {
      const Tensor features = encoder_(chunk(i)).value(), unit = l2_normalize(projector_(features).value());
      if (i == 0) {
        h = Tensor::empty({2 * images, features.size(1)}, features.dtype(), features.device());
        z = Tensor::empty({2 * images, unit.size(1)}, unit.dtype(), unit.device());
      }
      for (int64_t view = 0; view < 2; ++view) {
        rows(h, i, view).copy_(features.slice(0, view * size, (view + 1) * size));
        rows(z, i, view).copy_(unit.slice(0, view * size, (view + 1) * size));
      }
    }
  }
  feature_std_ = feature_spread(h);
  if (!grad_enabled()) return nt_xent(z, options_.temperature, &top1_);
  const Variable embeddings = Variable::leaf(z);
  const Variable loss = nt_xent(embeddings, options_.temperature, &top1_);
  loss.backward();
  // The second pass is the formula of a leaf that nobody reads: it gives the parameters their gradients on the way.
  const Variable way_in = Variable::leaf(Tensor::zeros({}, z.dtype(), z.device()));
  return record("cached gradients", loss.value(),
                {{way_in, [=, this, dz = embeddings.grad()](const Tensor& dy) {
                    for (int64_t i = 0; i < chunks; ++i) {
                      const Tensor part = concatenate(std::vector<Tensor>{rows(dz, i, 0), rows(dz, i, 1)}, 0);
                      l2_normalize(projector_(encoder_(chunk(i)))).backward(part * dy);
                    }
                    return Tensor::zeros({}, dy.dtype(), dy.device());
                  }}});
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
