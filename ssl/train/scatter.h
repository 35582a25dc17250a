// A scatter plot of points in two dimensions, coloured by class, as a PNG: what `tacit evaluate` draws of the principal
// components of the features. The rule: the same points give the same picture.
#pragma once

#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace tacit::ssl {

/// Points in two dimensions, coloured by their labels.
struct ScatterPlot {
  Tensor points;                         ///< (N, 2)
  std::vector<int64_t> labels;           ///< N; negative: grey
  std::vector<std::string> class_names;  ///< in the order of the labels; may be empty
  std::string title, x_axis, y_axis;     ///< in ASCII; other characters are drawn as ?
};
/// At most 5,000 points are drawn, in a fixed random order so that no class lies on top of the others; at most 24
/// classes are named. Throws Error when the file cannot be written; atomic.
void write_scatter_png(const std::string& path, const ScatterPlot&);

}  // namespace tacit::ssl
