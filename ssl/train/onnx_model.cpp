#include "ssl/train/onnx_model.h"

#include <set>

#include "ssl/train/protobuf.h"
#include "tensor/atomic_file.h"

namespace tacit::ssl::onnx {

namespace {

using protobuf::bytes;
using protobuf::integer;

// Field numbers and constants of onnx/onnx.proto.
namespace model_proto {
enum { kIrVersion = 1, kProducerName = 2, kProducerVersion = 3, kGraph = 7, kOperatorSetImport = 8, kMetadata = 14 };
}
namespace operator_set_id_proto {
enum { kVersion = 2 };  // its domain, field 1, is "" for ONNX's own operators
}
namespace string_string_entry_proto {
enum { kKey = 1, kValue = 2 };
}
namespace graph_proto {
enum { kNode = 1, kName = 2, kInitializer = 5, kInput = 11, kOutput = 12 };
}
namespace node_proto {
enum { kInput = 1, kOutput = 2, kName = 3, kOperator = 4, kAttribute = 5 };
}
namespace attribute_proto {
enum { kName = 1, kFloat = 2, kInt = 3, kInts = 8, kType = 20 };
enum Type { kTypeFloat = 1, kTypeInt = 2, kTypeInts = 7 };
}  // namespace attribute_proto
namespace tensor_proto {
enum { kDims = 1, kDataType = 2, kName = 8, kRawData = 9 };
enum DataType { kTypeF32 = 1, kTypeI64 = 7 };
}  // namespace tensor_proto
namespace value_info_proto {
enum { kName = 1, kType = 2 };
}
namespace type_proto {
enum { kTensor = 1, kElement = 1, kShape = 2 };  // and those of its TypeProto.Tensor
}
namespace tensor_shape_proto {
enum { kDim = 1, kSize = 1, kSymbol = 2 };  // and those of its TensorShapeProto.Dimension
}

constexpr uint64_t kLargestMessage = (uint64_t{1} << 31) - 1;  // what protocol buffers' readers accept

std::string attribute_bytes(const std::string& name, const Attribute& value) {
  using namespace attribute_proto;
  std::string out = bytes(kName, name);
  if (const auto* const number = std::get_if<int64_t>(&value))
    out += integer(kInt, *number) + integer(kType, kTypeInt);
  else if (const auto* const real = std::get_if<float>(&value))
    out += protobuf::fixed32(kFloat, *real) + integer(kType, kTypeFloat);
  else {
    for (const int64_t one : std::get<std::vector<int64_t>>(value)) out += integer(kInts, one);
    out += integer(kType, kTypeInts);
  }
  return out;
}

std::string node_bytes(const Node& node) {
  using namespace node_proto;
  std::string out;
  for (const std::string& input : node.inputs) out += bytes(kInput, input);
  for (const std::string& output : node.outputs) out += bytes(kOutput, output);
  out += bytes(kName, node.name) + bytes(kOperator, node.op);
  for (const auto& [name, value] : node.attributes) out += bytes(kAttribute, attribute_bytes(name, value));
  return out;
}

std::string port_bytes(const Port& port) {
  std::string shape = bytes(tensor_shape_proto::kDim, bytes(tensor_shape_proto::kSymbol, "N"));
  for (const int64_t size : port.sizes)
    shape += bytes(tensor_shape_proto::kDim, integer(tensor_shape_proto::kSize, size));
  const std::string tensor = integer(type_proto::kElement, tensor_proto::kTypeF32) + bytes(type_proto::kShape, shape);
  return bytes(value_info_proto::kName, port.name) + bytes(value_info_proto::kType, bytes(type_proto::kTensor, tensor));
}

/// A weight in the graph's message, up to its numbers, which are too many for copies.
struct Weight {
  std::string before;
  Tensor values;
  uint64_t value_bytes = 0;
  uint64_t size() const { return before.size() + value_bytes; }
};

Weight weight_of(const std::string& name, const Tensor& values) {
  using namespace tensor_proto;
  TACIT_CHECK(values.dtype() == f32 || values.dtype() == i64, "[onnx] weight ", name, " is of ", values.dtype(),
              "; known: f32, i64");
  Weight weight{
      .before = {}, .values = values, .value_bytes = static_cast<uint64_t>(values.numel()) * size_of(values.dtype())};
  std::string head;
  for (const int64_t size : values.shape()) head += integer(kDims, size);
  head += integer(kDataType, values.dtype() == f32 ? kTypeF32 : kTypeI64) + bytes(kName, name) +
          protobuf::bytes_key(kRawData, weight.value_bytes);
  weight.before = protobuf::bytes_key(graph_proto::kInitializer, head.size() + weight.value_bytes) + head;
  return weight;
}

void check_values(const Model& model) {
  std::set<std::string> known{model.input.name};
  const auto make = [&](const std::string& value) {
    TACIT_CHECK(known.insert(value).second, "[onnx] two values are called ", value);
  };
  for (const auto& weight : model.weights) make(weight.first);
  for (const Node& node : model.nodes) {
    for (const std::string& input : node.inputs)
      TACIT_CHECK(known.count(input), "[onnx] node ", node.name, " reads ", input, ", which nothing before it makes");
    for (const std::string& output : node.outputs) make(output);
  }
  TACIT_CHECK(known.count(model.output.name), "[onnx] nothing makes the output ", model.output.name);
}

}  // namespace

void write_model(const std::string& path, const Model& model) {
  check_values(model);
  std::string graph = bytes(graph_proto::kName, model.name) + bytes(graph_proto::kInput, port_bytes(model.input)) +
                      bytes(graph_proto::kOutput, port_bytes(model.output));
  for (const Node& node : model.nodes) graph += bytes(graph_proto::kNode, node_bytes(node));
  std::vector<Weight> weights;
  uint64_t graph_size = graph.size();
  for (const auto& [name, values] : model.weights) {
    weights.push_back(weight_of(name, values));
    graph_size += weights.back().size();
  }

  std::string head = integer(model_proto::kIrVersion, kIrVersion) + bytes(model_proto::kProducerName, "tacit") +
                     bytes(model_proto::kProducerVersion, model.version) +
                     bytes(model_proto::kOperatorSetImport, integer(operator_set_id_proto::kVersion, kOperatorSet));
  for (const auto& [key, value] : model.metadata)
    head += bytes(model_proto::kMetadata,
                  bytes(string_string_entry_proto::kKey, key) + bytes(string_string_entry_proto::kValue, value));
  head += protobuf::bytes_key(model_proto::kGraph, graph_size);
  TACIT_CHECK(head.size() + graph_size <= kLargestMessage, "[onnx] ", path, " would have ", head.size() + graph_size,
              " bytes, more than the ", kLargestMessage, " of an ONNX file; export as safetensors instead");

  AtomicFile file(path);
  file.write(head + graph);
  for (const Weight& weight : weights) {
    file.write(weight.before);
    file.write(weight.values);
  }
  file.commit();
}

}  // namespace tacit::ssl::onnx
