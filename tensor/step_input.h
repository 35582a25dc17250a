// What changes from step to step and is known to the host: learning rates, random choices, positions. A step that is
// captured as a graph is repeated as it was, so whatever it takes from the host anew lies in memory of the device that
// is written before each repetition. The rule: a number that differs between steps enters a step by step_input(), as a
// function of the step; every other number that the host hands to a kernel is repeated.
#pragma once

#include <functional>
#include <vector>

#include "tensor/tensor.h"

namespace tacit {

/// The inputs of one step that is, or will be, captured. Their memory is theirs from the first such step on: they are
/// written before a repetition, all of which must leave them alone.
class StepInputs {
 public:
  /// Collects those that this thread's step_input() makes in one step; the next step's lie where these did.
  class Collect {
   public:
    /// `written`: they get their values at once; else by write(), and the step only learns where they lie.
    Collect(StepInputs&, bool written);
    ~Collect();
    Collect(const Collect&) = delete;
    Collect& operator=(const Collect&) = delete;

   private:
    StepInputs* before_;
  };

  /// Gives all of them their values for this step, in the order in which they were asked for.
  void write(int64_t step) const;

  /// Used by step_input(): where the next input lies, and how it is written; at once unless it is collected for later.
  static Tensor place(const Shape&, DType, const Device&);
  static void add(std::function<void(int64_t)> write, int64_t step);

 private:
  bool written_ = true;
  std::vector<Tensor> places_;  // by the order of asking
  size_t next_ = 0;
  std::vector<std::function<void(int64_t step)>> writers_;
};

/// A tensor of make(step)'s values. In a captured step make is called again for each repetition, with its number, so it
/// may refer to what lives as long as the training; it is called once a step, so it may count.
template <class T>
Tensor step_input(const Shape& shape, const Device& device, int64_t step,
                  std::function<std::vector<T>(int64_t step)> make) {
  const Tensor input = StepInputs::place(shape, dtype_of<T>, device);
  StepInputs::add(
      [to = input, make = std::move(make)](int64_t at) mutable { to.upload_(std::span<const T>(make(at))); }, step);
  return input;
}

}  // namespace tacit
