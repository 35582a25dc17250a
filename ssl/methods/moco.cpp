#include "ssl/methods/moco.h"

#include <cmath>

#include "autograd/ops.h"
#include "optim/ema.h"
#include "ssl/methods/batch_metrics.h"
#include "tensor/random.h"

namespace tacit::ssl {

MoCo::MoCo(nn::Encoder encoder, MoCoOptions options)
    : options_(std::move(options)),
      online_(std::move(encoder), options_.projector,
              {.batch_norm = options_.projector_batch_norm,
               .last_batch_norm = options_.variant == "v3",
               .seed = options_.seed,
               .path = "projector"}),
      key_(online_) {
  TACIT_CHECK(options_.temperature > 0, "[MoCo] the temperature must be above 0, got ", options_.temperature);
  TACIT_CHECK(options_.momentum >= 0 && options_.momentum <= 1, "[MoCo] the momentum must lie in [0, 1], got ",
              options_.momentum);
  const int64_t d = options_.projector.back() > 0 ? options_.projector.back() : online_.encoder.features();
  if (v3()) {
    predictor_.emplace(d, options_.predictor, nn::MLPOptions{.seed = options_.seed, .path = "predictor"});
    return;
  }
  TACIT_CHECK(options_.queue_size > 0, "[MoCo] the queue must hold at least one key, got ", options_.queue_size);
  queue_ =
      nn::Buffer(l2_normalize(Tensor::normal({options_.queue_size, d}, options_.seed, random_stream("MoCo queue"))));
  queue_ptr_ = nn::Buffer(Tensor::zeros({1}, i64));
}

Variable MoCo::loss(const std::vector<Tensor>& views, const Progress& progress) {
  TACIT_CHECK(views.size() == 2 && views[0].shape() == views[1].shape(),
              "[MoCo] needs two views of one shape (B, H, W, C), got ", views.size());
  const auto query = [&](const Tensor& view, Variable* h) {
    *h = online_.encoder(view);
    const Variable z = online_.projector(*h);
    return l2_normalize(predictor_ ? (*predictor_)(z) : z);
  };
  Variable h, h2;
  const Variable q1 = query(views[0], &h);
  const double momentum =
      v3() ? optim::cosine_momentum(progress.step, progress.steps, options_.momentum) : options_.momentum;
  optim::ema_update_(key_, online_, momentum);
  const Tensor k2 = keys(views[1], progress, 1);
  if (v3()) {
    const Variable loss = against_batch(q1, k2);
    metrics_["feature_std"] = feature_spread(h.value());
    return loss + against_batch(query(views[1], &h2), keys(views[0], progress, 0));
  }
  Variable loss = against_queue(q1, k2);
  metrics_["feature_std"] = feature_spread(h.value());
  if (!options_.symmetric) {
    enqueue(k2);
    return loss;
  }
  const Tensor k1 = keys(views[0], progress, 0);
  loss = loss + against_queue(query(views[1], &h2), k1);
  enqueue(concatenate(std::vector<Tensor>{k1, k2}, 0));
  return loss;
}

Tensor MoCo::keys(const Tensor& view, const Progress& progress, uint64_t which) {
  if (v3()) return l2_normalize(key_(view));
  const int64_t n = view.size(0);
  std::vector<int64_t> order(static_cast<size_t>(n)), back(order.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int64_t>(i);
  Random random(options_.seed, random_stream("MoCo shuffle", static_cast<uint64_t>(progress.step), which));
  shuffle(order, random);
  for (size_t i = 0; i < order.size(); ++i) back[static_cast<size_t>(order[i])] = static_cast<int64_t>(i);
  const Tensor shuffled = index_select(view, 0, Tensor::from(order, {n}, view.device()));
  return index_select(l2_normalize(key_(shuffled)), 0, Tensor::from(back, {n}, view.device()));
}

Variable MoCo::against_queue(const Variable& q, const Tensor& k) {
  // The clone keeps the negatives of this step for its gradient: enqueue() writes into the queue before backward.
  const Tensor negatives = queue_.value().clone();
  const Variable positive = sum(q * k, {1}, true);
  const Variable logits =
      concatenate(std::vector<Variable>{positive, matmul(q, negatives.t())}, 1) / options_.temperature;
  const Tensor labels = Tensor::zeros({q.size(0)}, i64, q.value().device());
  metrics_["pretext_top1"] = top1_of(logits.value(), labels);
  return cross_entropy(logits, labels);
}

Variable MoCo::against_batch(const Variable& q, const Tensor& k) {
  const Variable logits = matmul(q, k.t()) / options_.temperature;
  const Tensor labels = Tensor::arange(q.size(0), i64, q.value().device());
  metrics_["pretext_top1"] = top1_of(logits.value(), labels);
  return cross_entropy(logits, labels) * (2 * options_.temperature);
}

void MoCo::enqueue(const Tensor& k) {
  const int64_t size = queue_.value().size(0), n = k.size(0);
  TACIT_CHECK(size % n == 0, "[MoCo] a queue of ", size, " is not a multiple of the ", n, " keys of a step");
  const auto at = static_cast<int64_t>(queue_ptr_.value().item());
  queue_.value().slice(0, at, at + n).copy_(k);
  queue_ptr_.value().fill_(static_cast<double>((at + n) % size));
}

Chance MoCo::chance(int64_t batch_size) const {
  const auto batch = static_cast<double>(batch_size);
  if (v3()) return {4 * options_.temperature * std::log(batch), 1 / batch};
  const auto choices = static_cast<double>(1 + options_.queue_size);
  return {(options_.symmetric ? 2 : 1) * std::log(choices), 1 / choices};
}

std::vector<std::string> MoCo::describe(int64_t images, int64_t) const {
  if (v3() || options_.queue_size * 2 < images) return {};
  return {"warning: --queue-size " + std::to_string(options_.queue_size) + " is near the data's " +
          std::to_string(images) +
          " images: most images then have an old key of their own among the negatives; a tenth of the data is safe"};
}

void MoCo::visit(nn::Visitor& v) {
  v("online", online_);
  v("key", key_);
  if (predictor_) v("predictor", *predictor_);
  v("queue", queue_);
  v("queue_ptr", queue_ptr_);
}

}  // namespace tacit::ssl
