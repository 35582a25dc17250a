// Initial values. A weight's numbers are a function of (seed, the parameter's path, its shape), drawn on the host, so
// they depend neither on the device nor on the order in which modules were built.
//
// The rule: layers are born with their defaults under seed 0 and an empty path; networks and users call
// initialize(network, seed) once, which draws every layer again under its own path.
#pragma once

#include <string>

#include "nn/module.h"

namespace tacit::nn {

/// Number of inputs one output sums over, and the reverse; the only place that knows the layouts of weights.
struct Fans {
  int64_t in = 0, out = 0;
};
/// Linear weights (out, in), convolutions (out, kh, kw, in / groups): in = kh kw in / groups, out = kh kw out
/// (torch's).
Fans fans_of(const Shape&, Layout);

/// Whose number scales an initialisation: the inputs of a unit, or its outputs.
enum class Fan : uint8_t { In, Out };

/// A distribution whose width may depend on the fans of the weight it is drawn for.
class Init {
 public:
  static Init constant(double value);
  static Init uniform(double low, double high);
  static Init normal(double mean, double std);
  /// Normal with mean 0, drawn again until it lies in [low, high] (absolute bounds, as torch's trunc_normal_).
  static Init truncated_normal(double std, double low = -2, double high = 2);
  /// He et al. 2015: uniform in ±gain sqrt(3 / fan), normal with std gain / sqrt(fan). sqrt(2) is the gain of ReLU.
  static Init kaiming_uniform(Fan = Fan::In, double gain = 1.4142135623730951);
  static Init kaiming_normal(Fan = Fan::In, double gain = 1.4142135623730951);
  /// Glorot & Bengio 2010: uniform in ±gain sqrt(6 / (in + out)), normal with std gain sqrt(2 / (in + out)).
  static Init xavier_uniform(double gain = 1);
  static Init xavier_normal(double gain = 1);
  /// What torch gives Linear and Conv2d: kaiming_uniform with gain 1/sqrt(3), that is ±1 / sqrt(fan_in).
  static Init torch_default();

  /// The values of a tensor of that shape, as f32 on the default device.
  Tensor draw(const Shape&, Layout, uint64_t seed, const std::string& path) const;

 private:
  enum class Kind : uint8_t { Constant, Uniform, Normal, Truncated };
  enum class Scale : uint8_t { Absolute, FanIn, FanOut, FanBoth };
  Init(Kind kind, double a, double b) : kind_(kind), a_(a), b_(b) {}
  Init scaled_by(Scale scale) const;
  double factor(const Shape&, Layout) const;

  Kind kind_;
  double a_, b_;  // constant: a; uniform: low, high; normal: mean, std; all times the factor
  double low_ = 0, high_ = 0;
  Scale scale_ = Scale::Absolute;
};

/// What Module::reset() draws with: the seed and the module's path.
class Initializer {
 public:
  Initializer(uint64_t seed, std::string path) : seed_(seed), path_(std::move(path)) {}
  /// Writes new values into an existing parameter called `name` in this module; an undefined one is left alone.
  void operator()(const std::string& name, Parameter&, const Init&) const;

 private:
  uint64_t seed_;
  std::string path_;
};

/// Resets every module below and including this one. `prefix` is prepended to the paths, for a part of a larger model.
void initialize(Module&, uint64_t seed, const std::string& prefix = "");

/// While one lives on this thread, layers are born with zeros instead of draws: for networks whose constructors end
/// with initialize() and need not draw twice.
class DeferInit {
 public:
  DeferInit();
  ~DeferInit();
  DeferInit(const DeferInit&) = delete;
  DeferInit& operator=(const DeferInit&) = delete;
  static bool active();

 private:
  bool before_;
};
/// For constructors of layers: reset(m) under seed 0 unless deferred.
template <class M>
void born(M& m) {
  if (!DeferInit::active()) m.reset(Initializer(0, ""));
}

}  // namespace tacit::nn
