// Optimizer: parameter groups, gradients in, parameters updated in place by one kernel call per group.
// The rule: biases and norm weights (tensors of one dimension) get no weight decay unless told otherwise; print the
// groups (describe()) so that the user sees it. The learning rate comes from outside before every step: set_lr().
#pragma once

#include <string>
#include <vector>

#include "nn/module.h"

namespace tacit::optim {

struct ParamGroup {
  std::string name;                  ///< "decay", "no_decay", or the caller's
  std::vector<std::string> names;    ///< full parameter names, in visiting order
  std::vector<Variable> parameters;  ///< the leaves
  double weight_decay = 0;
  double lr_scale = 1;  ///< this group's lr = lr_scale * the optimiser's lr
};

/// Two groups: tensors of more than one dimension with weight_decay, the rest with none. Frozen parameters are left
/// out.
std::vector<ParamGroup> default_groups(nn::Module&, double weight_decay);
/// One group with everything in it (torch's behaviour).
std::vector<ParamGroup> single_group(nn::Module&, double weight_decay);

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

  /// The global norm of all gradients, before they are scaled down so that it is at most max_norm (0: only measured).
  double clip_grad_norm(double max_norm);

  /// Everything the future depends on: moments named "<kind>.<parameter>" and "step" (i64).
  nn::StateDict state();
  /// Throws Error unless the names and shapes are exactly this optimiser's.
  void load_state(const nn::StateDict&);

  /// Lines such as "decay: 20 tensors, 389,664 values, weight decay 0.01".
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
