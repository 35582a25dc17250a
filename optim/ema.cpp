#include "optim/ema.h"

#include <cmath>
#include <numbers>

#include "tensor/ops.h"
#include "tensor/step_input.h"

namespace tacit::optim {

namespace {

struct Pairs {
  std::vector<Tensor> targets, sources;
};

Pairs pairs_of(nn::Module& target, nn::Module& online) {
  const auto ours = target.named_parameters(), theirs = online.named_parameters();
  TACIT_CHECK(ours.size() == theirs.size(), "[ema_update_] the target has ", ours.size(), " parameters, the online ",
              "module ", theirs.size(), "; the target must be a copy of it");
  Pairs pairs;
  for (size_t i = 0; i < ours.size(); ++i) {
    const Tensor &to = ours[i].second->value(), &from = theirs[i].second->value();
    TACIT_CHECK(ours[i].first == theirs[i].first && to.shape() == from.shape(), "[ema_update_] the target's ",
                ours[i].first, " ", to.shape(), " stands against ", theirs[i].first, " ", from.shape(),
                "; the target must be a copy of the online module");
    TACIT_CHECK(!to.shares_memory_with(from), "[ema_update_] ", ours[i].first,
                " is one tensor in both modules, so there is nothing to average; make the target a copy");
    pairs.targets.push_back(to);
    pairs.sources.push_back(from);
  }
  return pairs;
}

}  // namespace

void ema_update_(nn::Module& target, nn::Module& online, double momentum) {
  TACIT_CHECK(momentum >= 0 && momentum <= 1, "[ema_update_] momentum ", momentum, " is not in [0, 1]");
  const Pairs pairs = pairs_of(target, online);
  if (pairs.targets.empty()) return;
  if (momentum == 0) {  // t + 1 (s - t) would miss s by a rounding
    for (size_t i = 0; i < pairs.targets.size(); ++i) Tensor(pairs.targets[i]).copy_(pairs.sources[i]);
    return;
  }
  lerp_(pairs.targets, pairs.sources, Tensor::scalar(1 - momentum, f64, pairs.targets[0].device()));
}

void ema_update_(nn::Module& target, nn::Module& online, const Tensor& weight) {
  const Pairs pairs = pairs_of(target, online);
  lerp_(pairs.targets, pairs.sources, weight);
}

Tensor cosine_weight(int64_t step, int64_t steps, double base, const Device& device) {
  TACIT_CHECK(base > 0, "[cosine_weight] the base momentum must be above 0, got ", base);
  return step_input<double>({}, device, step, [steps, base](int64_t at) {
    return std::vector<double>{1 - cosine_momentum(at, steps, base)};
  });
}

double cosine_momentum(int64_t step, int64_t steps, double base) {
  TACIT_CHECK(step >= 0 && steps > 0 && step <= steps, "[cosine_momentum] step ", step, " of ", steps,
              "; needs 0 <= step <= steps and steps > 0");
  TACIT_CHECK(base >= 0 && base <= 1, "[cosine_momentum] the base momentum ", base, " is not in [0, 1]");
  const double progress = static_cast<double>(step) / static_cast<double>(steps);
  return 1 - (1 - base) * (std::cos(std::numbers::pi * progress) + 1) / 2;
}

}  // namespace tacit::optim
