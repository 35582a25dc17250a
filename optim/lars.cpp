#include "optim/lars.h"

namespace tacit::optim {

LARS::LARS(nn::Module& model, Options options) : LARS(default_groups(model, options.weight_decay), options) {}

LARS::LARS(std::vector<ParamGroup> groups, Options options)
    : Optimizer(std::move(groups), options.lr), options_(options) {
  TACIT_CHECK(options.momentum >= 0 && options.momentum < 1, "[LARS] momentum ", options.momentum, " is not in [0, 1)");
  TACIT_CHECK(options.eta > 0, "[LARS] eta ", options.eta, " must be above 0");
}

void LARS::update(const ParamGroup& group, std::span<const View> params, std::span<const View> grads,
                  std::span<const std::vector<View>> states, Backend& backend, const View& hyper) {
  backend.update(LarsArgs{params, grads, states[0], hyper, options_.momentum, group.weight_decay, options_.eta,
                          group.adapt, options_.lr_in_buffer});
}

}  // namespace tacit::optim
