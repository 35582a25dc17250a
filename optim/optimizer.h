// Optimizer: parameter groups, gradients in, parameters updated in place by one kernel call per group.
// The rule: biases and norm weights (tensors of one dimension) get no weight decay unless told otherwise; print the
// groups (describe()) so that the user sees it. The learning rate comes from outside before every step: set_lr().
// A ViT's cls_token, pos_embed and mask_token have more than one dimension, so they are decayed (as MAE's pre-training
// does) unless they are named (as its fine-tuning and DeiT do).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "nn/module.h"

namespace tacit::optim {

/// Parameters under one weight decay.
struct ParamGroup {
  std::string name;                  ///< "decay", "no_decay", or the caller's
  std::vector<std::string> names;    ///< full parameter names, in visiting order
  std::vector<Variable> parameters;  ///< the leaves
  double weight_decay = 0;
  double lr_scale = 1;  ///< this group's lr = lr_scale * the optimiser's lr
  bool adapt = true;    ///< LARS scales these steps by trust ratios; other optimisers do not look at it
};

/// Two groups: "decay", tensors of more than one dimension, with weight_decay; and "no_decay", the rest and those
/// named, with none and adapt = false. An entry of `no_decay` names every parameter that it is the end of, by whole
/// words: "pos_embed" is "encoder.pos_embed" too; one that names nothing does nothing. Frozen parameters are left out.
std::vector<ParamGroup> default_groups(nn::Module&, double weight_decay, const std::vector<std::string>& no_decay = {});
/// One group with everything in it (torch's behaviour).
std::vector<ParamGroup> single_group(nn::Module&, double weight_decay);
/// Layer-wise learning-rate decay (BEiT, MAE): default_groups() of each layer, whose lr_scale is
/// decay^(last layer - layer), called "layer_0_decay", "layer_0_no_decay", …. layer_of gives a parameter's layer, from
/// 0; in a ViT of L blocks 0 for the embeddings and tokens, i + 1 for block i, L + 1 for the norm and head behind them.
/// The last layer is the largest that it gives, so its scale is 1. decay is in (0, 1].
std::vector<ParamGroup> layer_decay_groups(nn::Module&, double weight_decay, double decay,
                                           const std::function<int64_t(const std::string& name)>& layer_of,
                                           const std::vector<std::string>& no_decay = {});

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  void set_lr(double lr) { lr_ = lr; }
  double lr() const { return lr_; }
  int64_t steps() const { return steps_; }
  const std::vector<ParamGroup>& groups() const { return groups_; }

  /// Updates every parameter that has a gradient. Throws if none has one.
  void step();
  void zero_grad();

  /// The global norm of all gradients (one f64 on their device: nobody waits for it), before they are scaled down so
  /// that it is at most max_norm (0: only measured).
  Tensor clip_grad_norm(double max_norm);

  /// Everything the future depends on: moments named "<kind>.<parameter>" and "step" (i64).
  nn::StateDict state();
  /// Throws Error unless the names and shapes are exactly this optimiser's.
  void load_state(const nn::StateDict&);

  /// Lines such as "decay: 20 tensors, 389,664 values, weight decay 0.01", with ", lr x 0.75" where it is scaled.
  std::string describe() const;

 protected:
  Optimizer(std::vector<ParamGroup> groups, double lr);
  /// Names of the per-parameter state tensors, e.g. {"exp_avg", "exp_avg_sq"}; all start at zero.
  virtual std::vector<std::string> state_kinds() const = 0;
  /// What the kernel's `hyper` holds after the learning rate, for the step about to be made.
  virtual std::vector<double> hyper() const { return {}; }
  /// One kernel call; states[kind][i] belongs to params[i].
  virtual void update(const ParamGroup&, std::span<const View> params, std::span<const View> grads,
                      std::span<const std::vector<View>> states, Backend&, const View& hyper) = 0;

 private:
  void make_states();
  /// Calls f("<kind>.<parameter>", tensor) for every state tensor.
  template <class F>
  void for_each_state(F&& f);

  std::vector<ParamGroup> groups_;
  double lr_;
  int64_t steps_ = 0;
  std::vector<std::vector<std::vector<Tensor>>> states_;  // [group][kind][parameter]; empty before the first use
};

}  // namespace tacit::optim
