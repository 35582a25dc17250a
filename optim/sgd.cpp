#include "optim/sgd.h"

namespace tacit::optim {

SGD::SGD(nn::Module& model, Options options) : SGD(default_groups(model, options.weight_decay), options) {}

SGD::SGD(std::vector<ParamGroup> groups, Options options)
    : Optimizer(std::move(groups), options.lr), options_(options) {
  TACIT_CHECK(options.momentum >= 0 && options.momentum < 1, "[SGD] momentum ", options.momentum, " is not in [0, 1)");
  TACIT_CHECK(!options.nesterov || options.momentum > 0, "[SGD] nesterov needs momentum > 0");
}

std::vector<std::string> SGD::state_kinds() const {
  return options_.momentum == 0 ? std::vector<std::string>{} : std::vector<std::string>{"momentum_buffer"};
}

void SGD::update(const ParamGroup& group, std::span<const View> params, std::span<const View> grads,
                 std::span<const std::vector<View>> states, Backend& backend, const View& hyper) {
  SgdArgs args{params, grads, {}, hyper, options_.momentum, group.weight_decay, options_.nesterov};
  if (!states.empty()) args.momentum_buffers = states[0];
  backend.update(args);
}

}  // namespace tacit::optim
