// Reads the ONNX files that tacit writes, and computes what their graphs say, by tacit's plain ops: enough of operator
// set 17 for its encoders. The rule: whatever is not known fails the test; nothing is skipped.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "ssl/train/onnx_model.h"
#include "ssl/train/protobuf.h"
#include "tensor/ops.h"

namespace tacit::testing {

namespace onnx = ssl::onnx;

/// What a file has besides its graph.
struct OnnxFile {
  onnx::Model model;
  int64_t ir_version = 0, operator_set = 0;
  std::string producer;
};

// ---- reading; numbers of fields as in onnx.proto

/// f(reader) for every field.
template <class F>
void for_each_field(const std::string& message, F&& f) {
  ssl::protobuf::Reader reader(message);
  while (reader.next()) f(reader);
}

template <class T>
T from_bytes(const std::string& bytes) {
  T value{};
  REQUIRE(bytes.size() == sizeof value);
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

inline std::pair<std::string, Tensor> read_weight(const std::string& message) {
  std::string name, values;
  Shape shape;
  uint64_t type = 0;
  for_each_field(message, [&](const auto& at) {
    if (at.field == 1) shape.push_back(static_cast<int64_t>(at.number));
    if (at.field == 2) type = at.number;
    if (at.field == 8) name = at.bytes;
    if (at.field == 9) values = at.bytes;
  });
  REQUIRE((type == 1 || type == 7));
  const Tensor tensor = Tensor::empty(shape, type == 1 ? f32 : i64);
  REQUIRE(values.size() == static_cast<size_t>(tensor.numel()) * size_of(tensor.dtype()));
  if (!values.empty()) tensor.backend().upload(tensor.view().data, values.data(), values.size());
  return {name, tensor};
}

inline std::pair<std::string, onnx::Attribute> read_attribute(const std::string& message) {
  std::string name;
  onnx::Attribute value;
  std::vector<int64_t> list;
  uint64_t type = 0;
  for_each_field(message, [&](const auto& at) {
    if (at.field == 1) name = at.bytes;
    if (at.field == 2) value = from_bytes<float>(at.bytes);
    if (at.field == 3) value = static_cast<int64_t>(at.number);
    if (at.field == 8) list.push_back(static_cast<int64_t>(at.number));
    if (at.field == 20) type = at.number;
  });
  if (type == 7) value = list;
  REQUIRE(type == (std::holds_alternative<float>(value) ? 1 : std::holds_alternative<int64_t>(value) ? 2 : 7));
  return {name, value};
}

inline onnx::Node read_node(const std::string& message) {
  onnx::Node node;
  for_each_field(message, [&](const auto& at) {
    if (at.field == 1) node.inputs.push_back(at.bytes);
    if (at.field == 2) node.outputs.push_back(at.bytes);
    if (at.field == 3) node.name = at.bytes;
    if (at.field == 4) node.op = at.bytes;
    if (at.field == 5) node.attributes.insert(read_attribute(at.bytes));
  });
  return node;
}

/// Its first dimension must be the symbol N, its numbers f32.
inline onnx::Port read_port(const std::string& message) {
  onnx::Port port;
  std::vector<std::string> symbols;
  for_each_field(message, [&](const auto& at) {
    if (at.field == 1) port.name = at.bytes;
    if (at.field != 2) return;
    for_each_field(at.bytes, [&](const auto& type) {
      REQUIRE(type.field == 1);
      for_each_field(type.bytes, [&](const auto& tensor) {
        if (tensor.field == 1) CHECK(tensor.number == 1);
        if (tensor.field != 2) return;
        for_each_field(tensor.bytes, [&](const auto& dim) {
          for_each_field(dim.bytes, [&](const auto& size) {
            if (size.field == 1) port.sizes.push_back(static_cast<int64_t>(size.number));
            if (size.field == 2) symbols.push_back(size.bytes + std::to_string(port.sizes.size()));
          });
        });
      });
    });
  });
  CHECK(symbols == std::vector<std::string>{"N0"});
  return port;
}

inline OnnxFile read_onnx(const std::string& bytes) {
  OnnxFile file;
  onnx::Model& model = file.model;
  const auto graph = [&](const auto& at) {
    if (at.field == 1) model.nodes.push_back(read_node(at.bytes));
    if (at.field == 2) model.name = at.bytes;
    if (at.field == 5) CHECK(model.weights.insert(read_weight(at.bytes)).second);
    if (at.field == 11) model.input = read_port(at.bytes);
    if (at.field == 12) model.output = read_port(at.bytes);
  };
  for_each_field(bytes, [&](const auto& at) {
    if (at.field == 1) file.ir_version = static_cast<int64_t>(at.number);
    if (at.field == 2) file.producer = at.bytes;
    if (at.field == 3) model.version = at.bytes;
    if (at.field == 7) for_each_field(at.bytes, graph);
    if (at.field == 8)
      for_each_field(at.bytes, [&](const auto& set) {
        if (set.field == 2) file.operator_set = static_cast<int64_t>(set.number);
      });
    if (at.field == 14) {
      std::string entry[2];
      for_each_field(at.bytes, [&](const auto& part) { entry[part.field - 1] = part.bytes; });
      model.metadata[entry[0]] = entry[1];
    }
  });
  return file;
}

// ---- computing

/// One node's inputs and attributes, with the operators' defaults.
class OnnxStep {
 public:
  OnnxStep(const onnx::Node& node, const std::map<std::string, Tensor>& values) : node_(node) {
    for (const std::string& input : node.inputs) inputs_.push_back(values.at(input));
  }

  std::vector<Tensor> run() const {
    const std::string& op = node_.op;
    const Tensor& x = inputs_[0];
    if (op == "Split") return split(x, number("axis", 0));
    return {op == "Add"       ? x + inputs_[1]
            : op == "Sub"     ? x - inputs_[1]
            : op == "Mul"     ? x * inputs_[1]
            : op == "Div"     ? x / inputs_[1]
            : op == "Relu"    ? relu(x)
            : op == "Erf"     ? erf(x)
            : op == "MatMul"  ? matmul(x, inputs_[1])
            : op == "Softmax" ? softmax_of(x)
            : op == "Flatten" ? x.flatten(static_cast<int>(number("axis", 1)))
            : op == "Concat"  ? concatenate(inputs_, static_cast<int>(number("axis", 0)))
            : op == "Shape"   ? shape_of(x)
            : op == "Reshape" ? x.reshape(new_shape(x.shape()))
            : op == "Expand"  ? x.broadcast_to(Shape(inputs_[1].to_vector<int64_t>()))
            : op == "Gather"  ? x.select(static_cast<int>(number("axis", 0)), static_cast<int64_t>(inputs_[1].item()))
            : op == "Slice"   ? sliced(x)
            : op == "Conv"    ? conv(x)
            : op == "MaxPool" ? pooled(x, true)
            : op == "AveragePool"        ? pooled(x, false)
            : op == "GlobalAveragePool"  ? mean(x, {2, 3}, true)
            : op == "Transpose"          ? permuted(x)
            : op == "ReduceMean"         ? mean_over(x)
            : op == "BatchNormalization" ? batch_normalised(x)
            : op == "LayerNormalization" ? layer_normalised(x)
                                         : unknown()};
  }

 private:
  int64_t number(const char* name, int64_t otherwise) const {
    const auto found = node_.attributes.find(name);
    return found == node_.attributes.end() ? otherwise : std::get<int64_t>(found->second);
  }
  std::vector<int64_t> numbers(const char* name) const {
    return std::get<std::vector<int64_t>>(node_.attributes.at(name));
  }
  /// Of a list whose numbers are all the same.
  int64_t one_of(const char* name, size_t count) const {
    const std::vector<int64_t> list = numbers(name);
    REQUIRE(list == std::vector<int64_t>(count, list.at(0)));
    return list[0];
  }
  double epsilon() const { return std::get<float>(node_.attributes.at("epsilon")); }

  static Tensor nhwc(const Tensor& x) { return x.permute({0, 2, 3, 1}).contiguous_copy_if_needed(); }
  static Tensor nchw(const Tensor& x) { return x.permute({0, 3, 1, 2}); }

  Tensor conv(const Tensor& x) const {
    const Tensor weight = nhwc(inputs_.at(1));
    CHECK(numbers("kernel_shape") == std::vector<int64_t>{weight.size(1), weight.size(2)});
    const Tensor y = conv2d(nhwc(x), weight,
                            {.stride = one_of("strides", 2),
                             .padding = one_of("pads", 4),
                             .dilation = one_of("dilations", 2),
                             .groups = number("group", 1)});
    return nchw(inputs_.size() > 2 ? y + inputs_[2] : y);
  }
  Tensor pooled(const Tensor& x, bool max) const {
    const PoolOptions o{
        .kernel = one_of("kernel_shape", 2), .stride = one_of("strides", 2), .padding = one_of("pads", 4)};
    CHECK(number("count_include_pad", 0) == (max ? 0 : 1));
    return nchw(max ? max_pool2d(nhwc(x), o) : avg_pool2d(nhwc(x), o));
  }
  Tensor batch_normalised(const Tensor& x) const {
    const auto channels = [&](size_t i) { return inputs_.at(i).reshape({1, x.size(1), 1, 1}); };
    return (x - channels(3)) / sqrt(channels(4) + epsilon()) * channels(1) + channels(2);
  }
  Tensor layer_normalised(const Tensor& x) const {
    REQUIRE(number("axis", -1) == -1);
    return (x - mean(x, {-1}, true)) / sqrt(var(x, {-1}, true) + epsilon()) * inputs_.at(1) + inputs_.at(2);
  }
  Tensor softmax_of(const Tensor& x) const {
    REQUIRE(number("axis", -1) == -1);
    return softmax(x);
  }
  Tensor shape_of(const Tensor& x) const {
    const int64_t start = number("start", 0), end = number("end", x.rank());
    return Tensor::from(std::vector<int64_t>(x.shape().begin() + start, x.shape().begin() + end), {end - start});
  }
  Shape new_shape(const Shape& old) const {
    Shape shape(inputs_.at(1).to_vector<int64_t>());
    for (int i = 0; i < shape.rank(); ++i)
      if (shape[i] == 0) shape[i] = old[i];
    return shape;
  }
  Tensor sliced(const Tensor& x) const {
    REQUIRE(inputs_.size() == 4);
    const int axis = static_cast<int>(inputs_[3].item());
    return x.slice(axis, inputs_[1].to_vector<int64_t>().at(0),
                   std::min(x.size(axis), inputs_[2].to_vector<int64_t>().at(0)));
  }
  Tensor permuted(const Tensor& x) const {
    const std::vector<int64_t> perm = numbers("perm");
    return x.permute(std::vector<int>(perm.begin(), perm.end()));
  }
  Tensor mean_over(const Tensor& x) const {
    const std::vector<int64_t> axes = numbers("axes");
    REQUIRE(axes.size() == 1);
    return mean(x, {static_cast<int>(axes[0])}, number("keepdims", 1) == 1);
  }
  std::vector<Tensor> split(const Tensor& x, int64_t axis) const {
    const auto parts = static_cast<int64_t>(node_.outputs.size()), size = x.size(static_cast<int>(axis)) / parts;
    std::vector<Tensor> out;
    for (int64_t i = 0; i < parts; ++i) out.push_back(x.slice(static_cast<int>(axis), i * size, (i + 1) * size));
    return out;
  }
  Tensor unknown() const {
    FAIL("operator " << node_.op);
    return {};
  }

  const onnx::Node& node_;
  std::vector<Tensor> inputs_;
};

/// images (N, C, H, W) -> the output.
inline Tensor run_onnx(const onnx::Model& model, const Tensor& images) {
  std::map<std::string, Tensor> values = model.weights;
  values[model.input.name] = images;
  for (const onnx::Node& node : model.nodes) {
    CAPTURE(node.name);
    const std::vector<Tensor> results = OnnxStep(node, values).run();
    REQUIRE(results.size() == node.outputs.size());
    for (size_t i = 0; i < results.size(); ++i) values[node.outputs[i]] = results[i];
  }
  return values.at(model.output.name);
}

}  // namespace tacit::testing
