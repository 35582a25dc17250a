// Variable: a Tensor and its place in the graph. Differentiable ops are in autograd/ops.h; record() makes them.
//
// The rule that keeps the graph simple: gradient formulas capture Tensors, never Variables, so a graph cannot contain a
// cycle and keeps exactly what its formulas read. Creation order is a topological order. backward() clears each node's
// formulas as it passes, which frees the activations; a second backward through a cleared node throws.
// There is no double backward.
#pragma once

#include <functional>
#include <initializer_list>
#include <memory>
#include <vector>

#include "tensor/tensor.h"

namespace tacit {

struct Node;  // autograd/node.h

class Variable {
 public:
  Variable() = default;
  /// A constant. Implicit, so that Tensors mix freely with Variables in any op.
  Variable(Tensor value) : value_(std::move(value)) {}  // NOLINT(google-explicit-constructor)
  /// Something to differentiate with respect to.
  static Variable leaf(Tensor value);

  const Tensor& value() const { return value_; }
  bool defined() const { return value_.defined(); }
  const Shape& shape() const { return value_.shape(); }
  int64_t size(int dim) const { return value_.size(dim); }
  int rank() const { return value_.rank(); }
  DType dtype() const { return value_.dtype(); }
  double item() const { return value_.item(); }

  bool requires_grad() const { return node_ != nullptr; }
  bool is_leaf() const;
  /// Stop-gradient: the same value as a constant.
  Variable detach() const { return Variable(value_); }

  /// d loss / d this, summed over every backward since zero_grad(); undefined before the first. Leaves only.
  const Tensor& grad() const;
  void set_grad(Tensor) const;
  void zero_grad() const { set_grad(Tensor()); }

  /// Differentiates this scalar with respect to every leaf it came from.
  void backward() const;
  /// The same for any shape, from a given d loss / d this.
  void backward(const Tensor& dy) const;

  /// Replaces the leaf's value in place (the memory stays, shapes must match).
  void assign_(const Tensor& value) const;

  const std::shared_ptr<Node>& node() const { return node_; }

 private:
  friend class Recorder;
  Tensor value_;
  std::shared_ptr<Node> node_;
};

/// d loss / d output -> d loss / d one input, of the input's shape or of a shape that was broadcast from it.
using Vjp = std::function<Tensor(const Tensor& dy)>;
/// The same for all inputs at once: entry i of the result is read only when needed[i].
using JointVjp = std::function<std::vector<Tensor>(const Tensor& dy, const std::vector<bool>& needed)>;

/// An input of an op, and how dy becomes its gradient.
struct RecordedInput {
  const Variable& input;
  Vjp vjp;
};
/// The only way to make a differentiable result: a value and one formula per input. Inputs that need no gradient are
/// dropped together with what their formula captured. `op` must outlive the graph (a string literal).
Variable record(const char* op, Tensor y, std::initializer_list<RecordedInput> inputs);
/// For kernels that make several gradients at once.
Variable record_joint(const char* op, Tensor y, const std::vector<Variable>& inputs, JointVjp vjp);

/// Makes a value, for a formula that reads it in the backward pass.
using Remake = std::function<Tensor()>;
/// Tells how the value of y is made again, to the same bits and cheaply, from what its own formula keeps anyhow. As for
/// every captured Tensor: nobody may write to the parameters between the passes.
void can_remake(const Variable& y, Remake);
/// How a formula keeps the value of an input: as it is or, where can_remake() told how, without its memory.
Remake keep(const Variable& input);

/// Nothing is recorded on this thread while one of these lives.
class NoGrad {
 public:
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  bool before_;
};
/// False inside a NoGrad scope.
bool grad_enabled();

/// Calls f(gradient) each time a backward pass has finished the gradient of this leaf.
void on_grad(const Variable& leaf, std::function<void(const Tensor& grad)> f);

}  // namespace tacit
