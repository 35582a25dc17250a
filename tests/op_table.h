// The op table: every public differentiable op once or more, with inputs away from its kinks. It drives the gradient
// checks, the comparison of backends, the benchmark and the check of backends that live outside this project.
// The rule: an op declared in autograd/ops.h has a row here (tests/test_gradients.cpp compares the names).
// Includes only installed headers, so that other projects can compile op_table.cpp too.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "autograd/ops.h"

namespace tacit::testing {

/// What an input's values are: uniform in [low, high); distinct and evenly spaced inside (low, high), in random order;
/// i64 indices into dimension `dim` of input 0; u8 zeros and ones.
enum class Draw { Uniform, Distinct, Index, Mask };

struct OpInput {
  Shape shape;
  double low = -1, high = 1;
  Draw draw = Draw::Uniform;
  bool differentiable = true;
  int dim = 0;
};

struct OpRow {
  std::string name = {};     ///< as declared in autograd/ops.h
  std::string variant = {};  ///< tells rows of one op apart
  std::vector<OpInput> inputs = {};
  std::function<Variable(const std::vector<Variable>&)> f = {};
  /// Shapes that reach vector bodies, their tails and several threads, yet cost the reference backend little.
  std::vector<Shape> large = {};
  /// Shapes of the benchmark.
  std::vector<Shape> bench = {};
  /// Floating operations of one forward pass for the given shapes; none: the op is bound by memory.
  std::function<double(const std::vector<Shape>&)> flops = {};
  /// K, how many terms the longest sum of values or gradients has. None: the largest tensor over the smallest, which is
  /// what reductions and broadcasting sum.
  std::function<int64_t(const std::vector<Shape>&)> summed = {};
  /// Allowed error in units of 8 eps sqrt(K) max|expected|; other than 1 with the reason.
  double tolerance = 1;
  std::string reason = {};
  /// False where inputs that repeat along their first dimension would tie or lose their variance.
  bool broadcast = true;

  std::string label() const { return variant.empty() ? name : name + " (" + variant + ")"; }
  std::vector<Shape> shapes() const;
};

/// All rows; those of the element-wise functions follow from TACIT_FOREACH_UNARY.
const std::vector<OpRow>& op_table();

/// How an input lies in memory. Strided: dimensions reversed and every other element of a larger block whose gaps are
/// NaN. Broadcast: the first of dimension 0, repeated by stride 0 (so the values differ from the other layouts').
enum class Layout { Contiguous, Strided, Broadcast };
Tensor with_layout(const Tensor&, Layout);

/// A row's inputs, the same numbers for every dtype and device; f32 or f64 for the floating ones. `only`: the one input
/// that gets the layout; all of them if negative.
std::vector<Tensor> make_inputs(const OpRow&, const std::vector<Shape>& shapes, DType, Device,
                                Layout = Layout::Contiguous, int only = -1);

/// Fixed normal numbers in y's shape, to multiply with.
Tensor cotangent(const Tensor& y);

/// The op's value and its gradients from `dy` (undefined: cotangent()); the gradient of a constant input is undefined.
struct OpResult {
  Tensor value;
  std::vector<Tensor> gradients;
};
OpResult run(const OpRow&, const std::vector<Tensor>& inputs, const Tensor& dy = {});

/// "" when every tensor of `got`, in f32, is within the row's tolerance of `expected`; else the worst disagreement.
std::string compare(const OpRow&, const OpResult& got, const OpResult& expected);

}  // namespace tacit::testing
