#include "optim/adamw.h"

#include <cmath>

namespace tacit::optim {

AdamW::AdamW(nn::Module& model, Options options) : AdamW(default_groups(model, options.weight_decay), options) {}

AdamW::AdamW(std::vector<ParamGroup> groups, Options options)
    : Optimizer(std::move(groups), options.lr), options_(options) {
  TACIT_CHECK(options.beta1 >= 0 && options.beta1 < 1 && options.beta2 >= 0 && options.beta2 < 1, "[AdamW] betas ",
              options.beta1, " and ", options.beta2, " are not in [0, 1)");
  TACIT_CHECK(options.eps > 0, "[AdamW] eps ", options.eps, " must be above 0");
}

// {1 - beta1^t, 1 - beta2^t}, t counting from 1
std::vector<double> AdamW::hyper() const {
  const auto t = static_cast<double>(steps() + 1);
  return {1 - std::pow(options_.beta1, t), 1 - std::pow(options_.beta2, t)};
}

void AdamW::update(const ParamGroup& group, std::span<const View> params, std::span<const View> grads,
                   std::span<const std::vector<View>> states, Backend& backend, const View& hyper) {
  backend.update(AdamWArgs{params, grads, states[0], states[1], hyper, options_.beta1, options_.beta2, options_.eps,
                           group.weight_decay});
}

}  // namespace tacit::optim
