#include "ssl/methods/moco.h"

#include <cmath>
#include <numeric>

#include "autograd/ops.h"
#include "optim/ema.h"
#include "ssl/methods/batch_metrics.h"
#include "tensor/counted.h"
#include "tensor/random.h"
#include "tensor/step_input.h"

namespace tacit::ssl {

namespace {

nn::Encoder with_frozen_patches(nn::Encoder encoder) {
  bool found = false;
  for (const auto& named : encoder.named_parameters()) {
    if (named.first.rfind("patch_embed.", 0) != 0) continue;
    named.second->freeze();
    found = true;
  }
  TACIT_CHECK(found, "[MoCo] --stop-grad-conv1: this encoder has no patch embedding to keep as it is; it is of ViTs");
  return encoder;
}

/// A random order of n, and the order that undoes it.
std::vector<int64_t> shuffle_and_back(int64_t n, Random random) {
  std::vector<int64_t> order(static_cast<size_t>(n)), back(order.size());
  std::iota(order.begin(), order.end(), 0);
  shuffle(order, random);
  for (size_t i = 0; i < order.size(); ++i) back[static_cast<size_t>(order[i])] = static_cast<int64_t>(i);
  order.insert(order.end(), back.begin(), back.end());
  return order;
}

}  // namespace

MoCo::MoCo(nn::Encoder encoder, MoCoOptions options)
    : options_(std::move(options)),
      online_(options_.stop_grad_conv1 ? with_frozen_patches(std::move(encoder)) : std::move(encoder),
              options_.projector,
              {.batch_norm = options_.projector_batch_norm || options_.variant == "v3",
               .last_batch_norm = options_.variant == "v3",
               .splits = options_.bn_splits,
               .seed = options_.seed,
               .path = "projector"}),
      key_(online_) {
  TACIT_CHECK(options_.variant == "v1" || options_.variant == "v2" || v3(), "[MoCo] unknown variant '",
              options_.variant, "'; known: v1, v2, v3");
  TACIT_CHECK(options_.temperature > 0, "[MoCo] the temperature must be above 0, got ", options_.temperature);
  TACIT_CHECK(options_.momentum >= 0 && options_.momentum <= 1, "[MoCo] the momentum must lie in [0, 1], got ",
              options_.momentum);
  const int64_t d = options_.projector.back() > 0 ? options_.projector.back() : online_.encoder.features();
  if (v3()) {
    predictor_.emplace(d, options_.predictor,
                       nn::MLPOptions{.last_batch_norm = options_.predictor_last_batch_norm,
                                      .last_bias = false,
                                      .splits = options_.bn_splits,
                                      .seed = options_.seed,
                                      .path = "predictor"});
    const int64_t out = options_.predictor.back();  // 0: the input's, d
    TACIT_CHECK(out == 0 || out == d, "[MoCo] the predictor's output size ", out, " must be the projector's, ", d);
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
  const Tensor &view1 = views[0], &view2 = views[1];
  const auto update_keys = [&] {
    if (!v3())
      optim::ema_update_(key_, online_, options_.momentum);
    else if (options_.momentum > 0)
      optim::ema_update_(key_, online_,
                         optim::cosine_weight(progress.step, progress.steps, options_.momentum, view1.device()));
    else
      optim::ema_update_(key_, online_, optim::cosine_momentum(progress.step, progress.steps, 0));
  };
  Tensor h, top1, other;
  const Variable q1 = query(view1, &h);
  metrics_["feature_std"] = feature_spread(h);
  if (v3()) {
    const Variable q2 = query(view2, &h);
    update_keys();
    const Tensor k1 = keys(view1, progress, 0), k2 = keys(view2, progress, 1);
    const Variable loss = contrast(q1, k2, &top1) + contrast(q2, k1, &other);
    metrics_["pretext_top1"] = (top1 + other) / 2;
    return loss;
  }
  update_keys();
  const Tensor k2 = keys(view2, progress, 1);
  Variable loss = contrast(q1, k2, &top1);
  if (options_.symmetric) {
    const Variable q2 = query(view2, &h);
    const Tensor k1 = keys(view1, progress, 0);
    loss = loss + contrast(q2, k1, &other);
    top1 = (top1 + other) / 2;
    enqueue(concatenate(std::vector<Tensor>{k1, k2}, 0));
  } else {
    enqueue(k2);
  }
  metrics_["pretext_top1"] = top1;
  return loss;
}

Variable MoCo::query(const Tensor& view, Tensor* h) {
  const Variable features = online_.encoder(view), z = online_.projector(features);
  *h = features.value();
  return l2_normalize(predictor_ ? (*predictor_)(z) : z);
}

Tensor MoCo::keys(const Tensor& view, const Progress& progress, uint64_t which) {
  if (v3()) return l2_normalize(key_(view));
  const int64_t n = view.size(0);
  const Tensor orders = step_input<int64_t>({2, n}, view.device(), progress.step, [this, n, which](int64_t step) {
    return shuffle_and_back(n,
                            Random(options_.seed, random_stream("MoCo shuffle", static_cast<uint64_t>(step), which)));
  });
  const Tensor shuffled = index_select(view, 0, orders.select(0, 0));
  return index_select(l2_normalize(key_(shuffled)), 0, orders.select(0, 1));
}

// info_nce() has made q's gradient when it returns, so that the queue may be written before backward().
Variable MoCo::contrast(const Variable& q, const Tensor& k, Tensor* top1) const {
  std::vector<int64_t> labels(static_cast<size_t>(q.size(0)), 0);
  if (!v3()) return info_nce(q, queue_.value(), k, labels, options_.temperature, top1);
  std::iota(labels.begin(), labels.end(), 0);
  return info_nce(q, k, {}, labels, options_.temperature, top1) * (2 * options_.temperature);
}

void MoCo::enqueue(const Tensor& k) {
  const int64_t size = queue_.value().size(0), n = k.size(0);
  TACIT_CHECK(size % n == 0, "[MoCo] a queue of ", size, " is not a multiple of the ", counted(n, "key"), " of a step");
  // The rows of the keys, and the one behind them.
  const Tensor rows = step_input<int64_t>({n + 1}, k.device(), 0, [this, n, size](int64_t) {
    if (!queue_at_) queue_at_ = static_cast<int64_t>(queue_ptr_.value().item());
    std::vector<int64_t> at(static_cast<size_t>(n + 1));
    std::iota(at.begin(), at.end(), *queue_at_);
    queue_at_ = at.back() %= size;
    return at;
  });
  index_copy_(queue_.value(), rows.slice(0, 0, n), k);
  queue_ptr_.value().copy_(rows.slice(0, n, n + 1));
}

Chance MoCo::chance(int64_t batch_size) const {
  const auto batch = static_cast<double>(batch_size);
  if (v3()) return {4 * options_.temperature * std::log(batch), 1 / batch};
  const auto choices = static_cast<double>(1 + options_.queue_size);
  return {(options_.symmetric ? 2 : 1) * std::log(choices), 1 / choices};
}

std::string MoCo::why_not_captured() const {
  return v3() && options_.momentum == 0 ? "with --momentum 0 its first step copies the encoder and later ones do not"
                                        : "";
}

std::vector<std::string> MoCo::describe(int64_t images, int64_t) const {
  std::vector<std::string> lines;
  if (options_.stop_grad_conv1)
    lines.emplace_back("patches     embedded by a random projection that is not learned (--stop-grad-conv1)");
  if (!v3() && options_.queue_size * 2 >= images)
    lines.push_back("warning: --queue-size " + std::to_string(options_.queue_size) + " is near the data's " +
                    counted(images, "image") +
                    ": most images then have an old key of their own among the negatives; a tenth of the data is safe");
  return lines;
}

void MoCo::visit(nn::Visitor& v) {
  v("online", online_);
  v("key", key_);
  if (predictor_) v("predictor", *predictor_);
  v("queue", queue_);
  v("queue_ptr", queue_ptr_);
}

}  // namespace tacit::ssl
