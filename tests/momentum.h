// What the tests of MoCo and BYOL compute by hand: small models, and branches rebuilt from a method's state.
#pragma once

#include "autograd/ops.h"
#include "ssl/methods/branch.h"
#include "ssl/methods/method.h"
#include "tests/values.h"

namespace tacit::testing {

constexpr int64_t kImages = 8;

inline nn::Encoder tiny_encoder(int64_t splits = 0) {
  return nn::make_encoder({.name = "small_cnn", .width = 4, .bn_splits = splits, .seed = 1});
}

/// Two views of `images` made-up images; `draw` gives others.
inline std::vector<Tensor> tiny_views(uint64_t draw = 0, int64_t images = kImages, DType dtype = f64) {
  const Shape shape{images, 16, 16, 3};
  const Tensor base = Tensor::normal(shape, draw, 1, dtype);
  return {base + Tensor::normal(shape, draw, 2, dtype) * 0.3, base + Tensor::normal(shape, draw, 3, dtype) * 0.3};
}

/// Parameters and buffers below `prefix`, under the names they have there.
inline nn::StateDict part(nn::Module& model, const std::string& prefix) {
  nn::StateDict found;
  for (const auto& [name, t] : nn::state_dict(model))
    if (name.rfind(prefix + ".", 0) == 0) found[name.substr(prefix.size() + 1)] = t.clone();
  return found;
}

/// A module of the same kind as `like` with the state that `model` has below `prefix`, in f64 and training mode.
template <class M>
M rebuilt(nn::Module& model, const std::string& prefix, M like) {
  like.to(f64);
  nn::load_state(like, part(model, prefix));
  return like;
}

inline Tensor state(nn::Module& model, const std::string& name) {
  return nn::state_dict(model).at(name).to(default_device()).clone();
}

/// Moves the online branch away from its copy, as steps would.
inline void disturb(nn::Module& model, const std::string& prefix = "online.") {
  uint64_t i = 0;
  for (const auto& named : model.named_parameters())
    if (named.first.rfind(prefix, 0) == 0) {
      const Tensor w = named.second->value();
      named.second->variable().assign_(w + Tensor::normal(w.shape(), 9, ++i, w.dtype()) * 0.1);
    }
}

/// Largest difference over all tensors below two prefixes of two states.
inline double difference(const nn::StateDict& a, const nn::StateDict& b) {
  REQUIRE(a.size() == b.size());
  double most = 0;
  for (const auto& [name, t] : a) most = std::max(most, max_abs_difference(t, b.at(name)));
  return most;
}

/// Largest difference between the gradients below `prefix` of a model and those of a module of the same names.
inline double gradient_difference(nn::Module& model, const std::string& prefix, nn::Module& by_hand) {
  std::map<std::string, Tensor> ours;
  for (const auto& named : model.named_parameters())
    if (named.second->variable().requires_grad()) ours[named.first] = named.second->variable().grad();
  double most = 0;
  for (const auto& named : by_hand.named_parameters())
    most = std::max(most, max_abs_difference(ours.at(prefix + "." + named.first), named.second->variable().grad()));
  return most;
}

/// momentum slow + (1 - momentum) online, parameter by parameter.
inline double average_error(nn::Module& now, const nn::StateDict& before, const std::string& slow, double momentum,
                            const nn::StateDict& online) {
  double most = 0;
  for (const auto& named : now.named_parameters()) {
    if (named.first.rfind(slow + ".", 0) != 0) continue;
    const std::string name = named.first, rest = name.substr(slow.size() + 1);
    const Tensor expected = before.at(name) * momentum + online.at("online." + rest) * (1 - momentum);
    most = std::max(most, max_abs_difference(nn::state_dict(now).at(name), expected));
  }
  return most;
}

/// -log softmax([q . k, q . queue] / temperature)[0], mean over the rows; with ops of their own each.
inline Variable queue_loss(const Variable& q, const Tensor& k, const Tensor& queue, double temperature) {
  const Variable logits =
      concatenate(std::vector<Variable>{sum(q * k, {1}, true), matmul(q, queue.t())}, 1) / temperature;
  return cross_entropy(logits, Tensor::zeros({q.size(0)}, i64));
}
/// 2 T CE(q kᵀ / T), the diagonal as labels.
inline Variable batch_loss(const Variable& q, const Tensor& k, double temperature) {
  return cross_entropy(matmul(q, k.t()) / temperature, Tensor::arange(q.size(0))) * (2 * temperature);
}
/// 2 - 2 cos, mean over the rows.
inline Variable cosine_loss(const Variable& p, const Variable& z) {
  return mean(sum(square(l2_normalize(p) - l2_normalize(z)), {1}));
}

}  // namespace tacit::testing
