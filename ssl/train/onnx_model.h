// A model as ONNX files hold it (github.com/onnx/onnx): nodes over named values, weights, one input, one output; of
// operator set 17, whose operators docs/Operators.md there describes.
// The rule: a value is its name. It is the input, a weight, or what one node makes, and stands before its readers.
#pragma once

#include <map>
#include <string>
#include <variant>
#include <vector>

#include "tensor/tensor.h"

namespace tacit::ssl::onnx {

inline constexpr int64_t kIrVersion = 8, kOperatorSet = 17;

/// ONNX's INT, FLOAT and INTS.
using Attribute = std::variant<int64_t, float, std::vector<int64_t>>;
using Attributes = std::map<std::string, Attribute>;

/// One operator of a graph.
struct Node {
  std::string name, op;  ///< `op` is the operator's: "Conv"
  std::vector<std::string> inputs, outputs;
  Attributes attributes;
};

/// What enters or leaves a model: f32, (N, sizes…), N of any size.
struct Port {
  std::string name;
  std::vector<int64_t> sizes;
};

/// A graph with its weights, as a file holds them.
struct Model {
  std::string name;
  Port input, output;
  std::vector<Node> nodes;
  std::map<std::string, Tensor> weights;  ///< f32 or i64
  std::map<std::string, std::string> metadata;
  std::string version;  ///< of tacit, for the producer's
};

/// Replaces `path` atomically (tensor/atomic_file.h). Throws Error, before the file is touched, where a value is read
/// that nothing before makes, or made twice, or where the file would exceed protocol buffers' 2 GiB.
void write_model(const std::string& path, const Model&);

}  // namespace tacit::ssl::onnx
