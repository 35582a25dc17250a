// Module, Parameter, Buffer: a model is a value. Copying it copies every number in it (that is a momentum encoder).
//
// The rule: a module lists its members once, in visit(). Names, checkpoints, device moves, EMA, parameter groups and
// training mode are visitors over that list. Construction and copying make new leaves; assignment and load write into
// the existing leaf (shapes must match), so that an optimiser made earlier never trains stale tensors.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "autograd/variable.h"

namespace tacit::nn {

/// How a tensor is laid out in memory against how files name it.
enum class Layout : uint8_t {
  Plain,
  ConvOHWI  ///< (out, kernel_h, kernel_w, in) here, (out, in, kernel_h, kernel_w) in files, as torch stores it
};

/// A learned tensor. Use it wherever a Variable is expected.
class Parameter {
 public:
  Parameter() = default;  ///< none (a Linear without bias); visitors skip it
  explicit Parameter(Tensor value, Layout layout = Layout::Plain);
  Parameter(const Parameter&);             ///< deep copy, a new leaf
  Parameter(Parameter&&) noexcept;         ///< keeps the leaf
  Parameter& operator=(const Parameter&);  ///< writes into the existing leaf; an empty one becomes a deep copy
  Parameter& operator=(Parameter&&);       ///< the same: an optimiser may hold the leaf
  ~Parameter();

  operator const Variable&() const { return variable_; }  // NOLINT(google-explicit-constructor)
  const Variable& variable() const { return variable_; }
  const Tensor& value() const { return variable_.value(); }
  bool defined() const { return variable_.defined(); }
  const Shape& shape() const { return value().shape(); }
  Layout layout() const { return layout_; }
  /// A frozen parameter is a constant: ops record nothing for it. Copies of it are frozen too.
  void freeze();
  /// Becomes a new leaf on that device or of that dtype.
  void to(const Device&);
  void to(DType);

  /// Parameters alive in this process, for the test that every member is visited.
  static int64_t live_count();

 private:
  void assign(const Parameter& other);
  void replace(Tensor value);

  Variable variable_;
  Layout layout_ = Layout::Plain;
};

/// A tensor that is part of the state but not learned: running statistics, queues, fixed embeddings.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(Tensor value) : value_(std::move(value)) {}
  Buffer(const Buffer&);
  Buffer(Buffer&&) noexcept = default;
  Buffer& operator=(const Buffer&);
  Buffer& operator=(Buffer&&);
  operator const Tensor&() const { return value_; }  // NOLINT(google-explicit-constructor)
  const Tensor& value() const { return value_; }
  Tensor& value() { return value_; }
  bool defined() const { return value_.defined(); }
  void to(const Device& device) { value_ = value_.to(device); }

 private:
  void assign(const Buffer& other);

  Tensor value_;
};

class Initializer;  // nn/init.h
class Module;

/// What visit() calls for each member. Override what you need; the default for a module goes down into it.
class Visitor {
 public:
  virtual ~Visitor() = default;
  void operator()(const std::string& name, Parameter& p);
  void operator()(const std::string& name, Buffer& b);
  /// An empty name adds nothing to the path: wrappers pass their module on under its own names.
  void operator()(const std::string& name, Module& m);

 protected:
  /// `path` is the full dotted name, as in "layer1.0.conv1.weight".
  virtual void parameter(const std::string& path, Parameter&) { (void)path; }
  virtual void buffer(const std::string& path, Buffer&) { (void)path; }
  /// Called before the members of a module are visited (the root's path is "").
  virtual void module(const std::string& path, Module&) { (void)path; }

 private:
  std::string join(const std::string& name) const;
  std::string prefix_;
};

class Module {
 public:
  virtual ~Module() = default;
  /// Calls v(name, member) for every parameter, buffer and sub-module.
  virtual void visit(Visitor& v) = 0;
  /// Gives the parameters and buffers of this module itself (not of those below) their values at birth; see nn/init.h.
  virtual void reset(const Initializer&) {}
  /// load_state() has written into this module: numbers that the host keeps beside its tensors are to be read again.
  virtual void state_loaded() {}

  /// Training mode of this module and everything below; true at construction.
  void train(bool on = true);
  void eval() { train(false); }
  bool training() const { return training_; }

  std::vector<std::pair<std::string, Parameter*>> named_parameters();
  std::vector<std::pair<std::string, Buffer*>> named_buffers();
  int64_t parameter_count();
  void zero_grad();
  /// Makes every parameter a constant.
  void freeze();
  /// Moves every tensor, or converts every floating one; call before an optimiser is made.
  void to(const Device&);
  void to(DType);

 private:
  friend class TrainVisitor;
  bool training_ = true;
};

/// Every parameter and buffer as files hold it (convolutions OIHW), by name, in the order of visit(). The tensors share
/// the module's memory.
std::vector<std::pair<std::string, Tensor>> file_views(Module&);
/// The same as name -> tensor, copied to device "cpu".
using StateDict = std::map<std::string, Tensor>;
/// The module's own.
StateDict state_dict(Module&);

/// What load_state did. Unexpected names are those of the file that the module lacks.
struct LoadReport {
  std::vector<std::string> matched, missing, unexpected;
};
/// Writes into the existing tensors. strict: missing or unexpected names are errors (all named). Wrong shapes or dtypes
/// always are, as is a file in which nothing matches. Nothing is written unless everything is right.
LoadReport load_state(Module&, const StateDict&, bool strict = true);

/// A deep copy whose parameters are constants and whose call returns a Tensor: a momentum encoder's or teacher's type.
/// It has its own mode and its own batch norm statistics, which the online module's do not touch.
template <class M>
class Frozen : public Module {
 public:
  explicit Frozen(const M& online) : module_(online) { module_.freeze(); }
  template <class... Args>
  Tensor operator()(Args&&... args) {
    NoGrad guard;
    return module_(std::forward<Args>(args)...).value();
  }
  void visit(Visitor& v) override { v("", module_); }
  M& module() { return module_; }

 private:
  M module_;
};

}  // namespace tacit::nn
