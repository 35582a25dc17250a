// PyTorch's results (tests/fixtures/results_TOPIC.json, written by fixtures/make.py) and the inputs both sides draw.
// The rule: draw, draw_weights and lr_at are those of fixtures/common.py, name for name. A topic is one module
// fixtures/TOPIC.py, its results and one test_fixtures*.cpp; names are unique over all topics.
#pragma once

#include <doctest/doctest.h>

#include <map>
#include <string>
#include <vector>

#include "nn/module.h"

namespace tacit::testing {

/// Normals of the stream "fixture <name>", seed 0.
Tensor draw(const std::string& name, const Shape&, DType);

/// draw() as something to differentiate by.
Variable leaf(const std::string& name, const Shape&, DType);

/// Converts the module to `dtype` and gives every parameter and buffer its drawn value, by its name and shape in files.
void draw_weights(nn::Module&, DType);

/// Checks a tensor (shapes as torch has them) against the result of that name: the norm, the sum and the samples, each
/// within `tolerance` of the tensor's root mean square (the sum: of that times the root of the count).
void check_fixture(const std::string& name, const Tensor&, double tolerance);

/// Checks y ("<name> y"), then each leaf's gradient ("<name> d<key>") under the drawn cotangent.
void check_backward(const std::string& name, const Variable& y, const std::map<std::string, Variable>& leaves,
                    double tolerance);
/// Checks the gradient of every parameter ("<name> d<path>"), after check_backward.
void check_gradients(const std::string& name, nn::Module&, double tolerance);

/// Convolution weights from torch's order to tacit's, and back.
Tensor to_nhwc(const Tensor& weight);
Tensor to_nchw(const Tensor& weight);

/// Runs a case in f64 and f32, each with its tolerance.
template <class F>
void in_both(double f64_tolerance, double f32_tolerance, F&& f) {
  SUBCASE("f64") { f(f64, f64_tolerance); }
  SUBCASE("f32") { f(f32, f32_tolerance); }
}

/// The learning rate of a step in tests of whole steps: it changes each time.
double lr_at(int step);

/// How far the parameters, frozen ones too, are from torch's ("<prefix> <path>"), against how far torch moved them from
/// `before`: over all the samples, |w - w*| / |w* - before|. No buffers: running statistics move up to 38 times as far,
/// and the parameters' error would be lost in that.
double relative_to_movement(const std::string& prefix, nn::Module&, const nn::StateDict& before);

}  // namespace tacit::testing
