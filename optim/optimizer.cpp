#include "optim/optimizer.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <sstream>

#include "tensor/counted.h"
#include "tensor/ops.h"
#include "tensor/step_input.h"

namespace tacit::optim {

namespace {

ParamGroup group_of(nn::Module& module, const std::string& name, double weight_decay,
                    const std::function<bool(const std::string&, const Variable&)>& belongs) {
  ParamGroup group;
  group.name = name;
  group.weight_decay = weight_decay;
  for (const auto& named : module.named_parameters()) {
    const Variable& variable = named.second->variable();
    if (!variable.requires_grad() || !belongs(named.first, variable)) continue;
    group.names.push_back(named.first);
    group.parameters.push_back(variable);
  }
  return group;
}

// Whether `end` is the end of `name`, from the beginning of a word.
bool ends_with_word(const std::string& name, const std::string& end) {
  return name == end || name.ends_with("." + end);
}

// default_groups() of those parameters that belong; no group is empty.
std::vector<ParamGroup> groups_of(nn::Module& module, double weight_decay, const std::vector<std::string>& no_decay,
                                  const std::string& prefix, const std::function<bool(const std::string&)>& belongs) {
  const auto decays = [&](const std::string& name, const Variable& p) {
    return p.rank() > 1 && std::none_of(no_decay.begin(), no_decay.end(),
                                        [&](const std::string& end) { return ends_with_word(name, end); });
  };
  std::vector<ParamGroup> groups;
  for (const bool decayed : {true, false}) {
    ParamGroup group = group_of(
        module, prefix + (decayed ? "decay" : "no_decay"), decayed ? weight_decay : 0,
        [&](const std::string& name, const Variable& p) { return belongs(name) && decays(name, p) == decayed; });
    group.adapt = decayed;
    if (!group.parameters.empty()) groups.push_back(std::move(group));
  }
  return groups;
}

std::string with_commas(int64_t n) {
  const std::string digits = std::to_string(n);
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) text += ',';
    text += digits[i];
  }
  return text;
}

}  // namespace

std::vector<ParamGroup> default_groups(nn::Module& module, double weight_decay,
                                       const std::vector<std::string>& no_decay) {
  return groups_of(module, weight_decay, no_decay, "", [](const std::string&) { return true; });
}

std::vector<ParamGroup> single_group(nn::Module& module, double weight_decay) {
  return {group_of(module, "all", weight_decay, [](const std::string&, const Variable&) { return true; })};
}

std::vector<ParamGroup> layer_decay_groups(nn::Module& module, double weight_decay, double decay,
                                           const std::function<int64_t(const std::string&)>& layer_of,
                                           const std::vector<std::string>& no_decay) {
  TACIT_CHECK(decay > 0 && decay <= 1, "[layer_decay_groups] the decay ", decay, " is not in (0, 1]");
  std::map<std::string, int64_t> layers;
  std::set<int64_t> used;
  for (const auto& named : module.named_parameters()) {
    const int64_t layer = layer_of(named.first);
    TACIT_CHECK(layer >= 0, "[layer_decay_groups] ", named.first, " is given layer ", layer, "; layers count from 0");
    layers[named.first] = layer;
    used.insert(layer);
  }
  std::vector<ParamGroup> groups;
  for (const int64_t layer : used)
    for (ParamGroup& group : groups_of(module, weight_decay, no_decay, "layer_" + std::to_string(layer) + "_",
                                       [&](const std::string& name) { return layers.at(name) == layer; })) {
      group.lr_scale = std::pow(decay, static_cast<double>(*used.rbegin() - layer));
      groups.push_back(std::move(group));
    }
  return groups;
}

Optimizer::Optimizer(std::vector<ParamGroup> groups, double lr) : groups_(std::move(groups)), lr_(lr) {
  TACIT_CHECK(lr >= 0 && std::isfinite(lr), "[optimizer] the learning rate must be finite and not negative, got ", lr);
  std::set<const Node*> leaves;
  std::set<std::string> names;
  for (const ParamGroup& group : groups_) {
    TACIT_CHECK(group.weight_decay >= 0 && std::isfinite(group.weight_decay), "[optimizer] weight decay ",
                group.weight_decay, " of group '", group.name, "' must be finite and not negative");
    TACIT_CHECK(group.names.size() == group.parameters.size(), "[optimizer] group '", group.name, "' has ",
                group.parameters.size(), " parameters and ", group.names.size(), " names");
    for (size_t i = 0; i < group.parameters.size(); ++i) {
      TACIT_CHECK(group.parameters[i].is_leaf(), "[optimizer] ", group.names[i],
                  " is not a leaf that needs a gradient");
      TACIT_CHECK(leaves.insert(group.parameters[i].node().get()).second && names.insert(group.names[i]).second,
                  "[optimizer] ", group.names[i], " is listed twice");
    }
  }
  TACIT_CHECK(!leaves.empty(), "[optimizer] there are no parameters to train");
}

void Optimizer::make_states() {
  if (!states_.empty()) return;
  const size_t kinds = state_kinds().size();
  for (const ParamGroup& group : groups_) {
    auto& of_group = states_.emplace_back(kinds);
    for (auto& of_kind : of_group)
      for (const Variable& p : group.parameters)
        of_kind.push_back(Tensor::zeros(p.shape(), p.dtype(), p.value().device()));
  }
}

void Optimizer::step() {
  make_states();
  const auto trains = [](const Variable& p) { return p.grad().defined(); };
  TACIT_CHECK(
      std::any_of(groups_.begin(), groups_.end(),
                  [&](const ParamGroup& g) { return std::any_of(g.parameters.begin(), g.parameters.end(), trains); }),
      "[optimizer] no parameter has a gradient; call backward() before step()");
  const auto count = static_cast<int64_t>(1 + hyper().size());
  const auto first = std::find_if(groups_.begin(), groups_.end(), [](const auto& g) { return !g.parameters.empty(); });
  const Tensor numbers = step_input<double>({static_cast<int64_t>(groups_.size()), count},
                                            first->parameters[0].value().device(), 0, [this](int64_t) {
                                              std::vector<double> values;
                                              for (const ParamGroup& group : groups_) {
                                                values.push_back(lr_ * group.lr_scale);
                                                for (const double value : hyper()) values.push_back(value);
                                              }
                                              ++steps_;
                                              return values;
                                            });
  for (size_t g = 0; g < groups_.size(); ++g) {
    const ParamGroup& group = groups_[g];
    std::vector<View> params, grads;
    std::vector<std::vector<View>> states(states_[g].size());
    std::vector<Tensor> dense;  // keeps gradients alive that had to be made dense
    for (size_t i = 0; i < group.parameters.size(); ++i) {
      const Variable& p = group.parameters[i];
      if (!trains(p)) continue;
      dense.push_back(p.grad().contiguous_copy_if_needed());
      params.push_back(p.value().view());
      grads.push_back(dense.back().view());
      for (size_t k = 0; k < states.size(); ++k) states[k].push_back(states_[g][k][i].view());
    }
    if (params.empty()) continue;
    update(group, params, grads, states, numbers.backend(), numbers.select(0, static_cast<int64_t>(g)).view());
  }
}

void Optimizer::zero_grad() {
  for (const ParamGroup& group : groups_)
    for (const Variable& p : group.parameters) p.zero_grad();
}

Tensor Optimizer::clip_grad_norm(double max_norm) {
  TACIT_CHECK(max_norm >= 0, "[clip_grad_norm] the largest norm must not be negative, got ", max_norm);
  std::vector<Tensor> grads;
  for (const ParamGroup& group : groups_)
    for (const Variable& p : group.parameters)
      if (p.grad().defined()) grads.push_back(p.grad().contiguous_copy_if_needed());
  TACIT_CHECK(!grads.empty(), "[clip_grad_norm] no parameter has a gradient; call backward() first");
  const Tensor norm = sqrt(sum_squares(grads));
  if (max_norm == 0) return norm;
  const auto number = [&](double value) { return Tensor::scalar(value, f64, norm.device()); };
  // torch's clip_grad_norm_ divides by norm + 1e-6 as well.
  const Tensor factor = where(greater(norm, number(max_norm)), max_norm / (norm + 1e-6), number(1));
  for (const ParamGroup& group : groups_)
    for (const Variable& p : group.parameters)
      if (p.grad().defined()) p.set_grad(p.grad() * factor.to(p.grad().dtype()));
  return norm;
}

template <class F>
void Optimizer::for_each_state(F&& f) {
  make_states();
  const std::vector<std::string> kinds = state_kinds();
  for (size_t g = 0; g < groups_.size(); ++g)
    for (size_t k = 0; k < kinds.size(); ++k)
      for (size_t i = 0; i < groups_[g].names.size(); ++i) f(kinds[k] + "." + groups_[g].names[i], states_[g][k][i]);
}

nn::StateDict Optimizer::state() {
  nn::StateDict state;
  const Device host("cpu");
  for_each_state([&](const std::string& name, const Tensor& value) { state[name] = value.to(host).clone(); });
  state["step"] = Tensor::from(std::vector<int64_t>{steps_}, {}, host);
  return state;
}

void Optimizer::load_state(const nn::StateDict& state) {
  std::vector<std::pair<Tensor, Tensor>> copies;  // {target, source}: nothing is written unless everything is right
  const auto find = [&](const std::string& name) -> const Tensor& {
    const auto found = state.find(name);
    TACIT_CHECK(found != state.end(), "[optimizer] the saved state lacks ", name,
                "; it belongs to another optimiser or model");
    return found->second;
  };
  for_each_state([&](const std::string& name, const Tensor& target) {
    const Tensor& source = find(name);
    TACIT_CHECK(source.shape() == target.shape() && source.dtype() == target.dtype(), "[optimizer] saved ", name,
                " is ", source.dtype(), " ", source.shape(), ", needed is ", target.dtype(), " ", target.shape());
    copies.emplace_back(target, source);
  });
  const Tensor& step = find("step");
  TACIT_CHECK(step.dtype() == i64 && step.numel() == 1, "[optimizer] saved step is not one i64");
  TACIT_CHECK(state.size() == copies.size() + 1, "[optimizer] the saved state has ", counted(state.size(), "tensor"),
              ", this one ", copies.size() + 1, "; it belongs to another optimiser or model");
  for (auto& copy : copies) copy.first.copy_(copy.second);
  steps_ = step.to_vector<int64_t>()[0];
}

std::string Optimizer::describe() const {
  std::ostringstream text;
  for (const ParamGroup& group : groups_) {
    int64_t values = 0;
    for (const Variable& p : group.parameters) values += p.value().numel();
    text << group.name << ": " << counted(group.parameters.size(), "tensor") << ", " << with_commas(values)
         << " values, weight decay " << group.weight_decay;
    if (group.lr_scale != 1) text << ", lr x " << group.lr_scale;
    text << '\n';
  }
  return text.str();
}

}  // namespace tacit::optim
