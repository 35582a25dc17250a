#include "ssl/methods/byol.h"

#include "autograd/ops.h"
#include "optim/ema.h"
#include "ssl/methods/batch_metrics.h"

namespace tacit::ssl {

namespace {

/// |a/|a| - b/|b||² = 2 - 2 cos(a, b), mean over the batch.
Variable regression(const Variable& a, const Variable& b) {
  return 2.0 - 2.0 * mean(sum(l2_normalize(a) * l2_normalize(b), {1}));
}

}  // namespace

BYOL::BYOL(nn::Encoder encoder, BYOLOptions options)
    : options_(std::move(options)),
      online_(std::move(encoder), options_.projector, {.last_bias = false, .seed = options_.seed, .path = "projector"}),
      target_(online_) {
  TACIT_CHECK(options_.target_momentum >= 0 && options_.target_momentum <= 1,
              "[BYOL] the target's momentum must lie in [0, 1], got ", options_.target_momentum);
  if (!options_.use_predictor) return;
  const auto out = [&](const std::vector<int64_t>& sizes, int64_t in) { return sizes.back() > 0 ? sizes.back() : in; };
  const int64_t d = out(options_.projector, online_.encoder.features());
  TACIT_CHECK(out(options_.predictor, d) == d, "[BYOL] the predictor's output size ", options_.predictor.back(),
              " must be the projector's, ", d);
  predictor_.emplace(d, options_.predictor,
                     nn::MLPOptions{.last_bias = false, .seed = options_.seed, .path = "predictor"});
}

Variable BYOL::loss(const std::vector<Tensor>& views, const Progress&) {
  TACIT_CHECK(views.size() == 2 && views[0].shape() == views[1].shape(),
              "[BYOL] needs two views of one shape (B, H, W, C), got ", views.size());
  // Each view passes through batch norm by itself, as in the official code.
  const Variable h = online_.encoder(views[0]);
  const Variable z1 = online_.projector(h), z2 = online_(views[1]);
  const Variable target1 = options_.stop_gradient ? Variable(target_(views[0])) : z1;
  const Variable target2 = options_.stop_gradient ? Variable(target_(views[1])) : z2;
  const auto predict = [&](const Variable& z) { return predictor_ ? (*predictor_)(z) : z; };
  metrics_ = {{"feature_std", feature_spread(h.value())}, {"projection_std", feature_spread(z1.value())}};
  // One after the other: the predictor's running statistics depend on the order, and an expression has none.
  const Variable p1 = predict(z1), p2 = predict(z2);
  return regression(p1, target2) + regression(p2, target1);
}

void BYOL::after_step(const Progress& progress) {
  if (options_.target_momentum > 0)
    optim::ema_update_(target_, online_,
                       optim::cosine_weight(progress.step, progress.steps, options_.target_momentum,
                                            online_.named_parameters()[0].second->value().device()));
  else
    optim::ema_update_(target_, online_, 0);
}

std::vector<std::string> BYOL::describe(int64_t, int64_t) const {
  std::vector<std::string> lines;
  if (!options_.use_predictor)
    lines.emplace_back(
        "warning: --no-predictor: nothing keeps the features apart; expect projection_std (the head's) to fall towards "
        "0");
  if (!options_.stop_gradient)
    lines.emplace_back(
        "warning: --no-stop-gradient: both sides move towards each other; expect projection_std (the head's) to fall "
        "towards 0");
  if (options_.target_momentum == 0)
    lines.emplace_back("target      the online network after each step, without averaging (SimSiam's case)");
  return lines;
}

void BYOL::visit(nn::Visitor& v) {
  v("online", online_);
  v("target", target_);
  if (predictor_) v("predictor", *predictor_);
}

}  // namespace tacit::ssl
