#include "ssl/train/export_onnx.h"

#include <cmath>
#include <limits>

#include "nn/nin.h"
#include "nn/resnet.h"
#include "nn/small_cnn.h"
#include "nn/vit.h"
#include "ssl/train/check.h"

namespace tacit::ssl {

namespace {

using onnx::Attributes;
using Value = std::string;  // a value of the graph: its name

/// An encoder's modules by their paths.
class ModulesByPath final : public nn::Visitor {
 public:
  explicit ModulesByPath(nn::Module& root) { (*this)("", root); }
  bool has(const std::string& path) const { return modules_.count(path) > 0; }
  /// Throws Error unless an M is there.
  template <class M>
  M& at(const std::string& path) const {
    const auto found = modules_.find(path);
    M* const module = found == modules_.end() ? nullptr : dynamic_cast<M*>(found->second);
    TACIT_CHECK(module, "[onnx] the encoder's ", path, " is not the layer that its graph needs there");
    return *module;
  }

 protected:
  // Of a wrapper and what it holds, which have one path, the latter comes last.
  void module(const std::string& path, nn::Module& m) override { modules_[path] = &m; }

 private:
  std::map<std::string, nn::Module*> modules_;
};

/// A graph in the making: layers by the paths of their modules. Each function gives the value that it adds.
class GraphBuilder {
 public:
  explicit GraphBuilder(nn::Encoder& encoder) : modules_(encoder), left_(nn::state_dict(encoder)) {}

  const ModulesByPath& modules() const { return modules_; }

  /// The node's value has the node's name.
  Value add(const std::string& name, const std::string& op, std::vector<Value> inputs, Attributes attributes = {}) {
    model_.nodes.push_back({name, op, std::move(inputs), {name}, std::move(attributes)});
    return name;
  }
  std::vector<Value> split_in_three(const std::string& name, const Value& x, int64_t axis) {
    std::vector<Value> parts = {name + ".0", name + ".1", name + ".2"};
    model_.nodes.push_back({name, "Split", {x}, parts, {{"axis", axis}}});
    return parts;
  }
  /// A number that is none of the encoder's; the same name is the same number.
  Value constant(const std::string& name, const Tensor& value) {
    model_.weights.emplace(name, value);
    return name;
  }
  Value number(const std::string& name, double value) {
    return constant(name, Tensor::full({}, value, f32, Device("cpu")));
  }
  Value sizes(const std::string& name, const std::vector<int64_t>& values) {
    return constant(name, Tensor::from(values, {static_cast<int64_t>(values.size())}, Device("cpu")));
  }
  /// A tensor of the encoder.
  Value tensor(const std::string& name) { return constant(name, take(name)); }
  /// A matrix of it, transposed.
  Value transposed(const std::string& name) { return constant(name + ".T", take(name).t()); }

  Value conv(const std::string& path, const Value& x) {
    const auto& layer = modules_.at<nn::Conv2d>(path);
    const Conv2dOptions& g = layer.geometry();
    std::vector<Value> inputs = {x, tensor(path + ".weight")};
    if (layer.bias.defined()) inputs.push_back(tensor(path + ".bias"));
    return add(path, "Conv", inputs,
               {{"kernel_shape", std::vector<int64_t>{layer.weight.shape()[1], layer.weight.shape()[2]}},
                {"strides", std::vector<int64_t>(2, g.stride)},
                {"pads", std::vector<int64_t>(4, g.padding)},
                {"dilations", std::vector<int64_t>(2, g.dilation)},
                {"group", g.groups}});
  }
  Value batch_norm(const std::string& path, const Value& x) {
    left_.erase(path + ".num_batches_tracked");  // of training alone
    return add(path, "BatchNormalization",
               {x, tensor(path + ".weight"), tensor(path + ".bias"), tensor(path + ".running_mean"),
                tensor(path + ".running_var")},
               {{"epsilon", static_cast<float>(modules_.at<nn::BatchNorm>(path).options().eps)}});
  }
  Value relu(const std::string& path, const Value& x) { return add(path + ".relu", "Relu", {x}); }
  Value pool(const std::string& name, const Value& x, PoolOp op, const PoolOptions& o) {
    Attributes attributes = {{"kernel_shape", std::vector<int64_t>(2, o.kernel)},
                             {"strides", std::vector<int64_t>(2, o.stride)},
                             {"pads", std::vector<int64_t>(4, o.padding)}};
    if (op == PoolOp::Average) attributes["count_include_pad"] = int64_t{1};
    return add(name, op == PoolOp::Max ? "MaxPool" : "AveragePool", {x}, std::move(attributes));
  }
  Value global_avg_pool(const Value& x) {
    return add("pool.flat", "Flatten", {add("pool", "GlobalAveragePool", {x})}, {{"axis", int64_t{1}}});
  }
  Value layer_norm(const std::string& path, const Value& x) {
    return add(path, "LayerNormalization", {x, tensor(path + ".weight"), tensor(path + ".bias")},
               {{"axis", int64_t{-1}}, {"epsilon", static_cast<float>(modules_.at<nn::LayerNorm>(path).eps())}});
  }
  Value linear(const std::string& path, const Value& x) {
    const auto& layer = modules_.at<nn::Linear>(path);
    if (!layer.bias.defined()) return add(path, "MatMul", {x, transposed(path + ".weight")});
    const Value product = add(path + ".product", "MatMul", {x, transposed(path + ".weight")});
    return add(path, "Add", {product, tensor(path + ".bias")});
  }
  /// x / 2 (1 + erf(x / √2)), in the order that runtimes recognise.
  Value gelu(const std::string& path, const Value& x) {
    const Value erf = add(path + ".erf", "Erf", {add(path + ".scaled", "Div", {x, number("sqrt_2", std::sqrt(2.0))})});
    const Value twice = add(path + ".twice", "Mul", {x, add(path + ".cdf", "Add", {erf, number("one", 1)})});
    return add(path, "Mul", {twice, number("half", 0.5)});
  }

  /// The model whose output is `x`, the last node's. Throws Error where a tensor of the encoder is not in it.
  onnx::Model finish(const Value& x) {
    TACIT_CHECK(left_.empty(), "[onnx] the encoder's ", left_.begin()->first,
                " has no place in the graph of its network; graphs are of encoders without a classifier");
    TACIT_CHECK(model_.nodes.back().outputs == std::vector<Value>{x}, "[onnx] the last node does not make ", x);
    model_.nodes.back().outputs = {"features"};
    return std::move(model_);
  }

 private:
  Tensor take(const std::string& name) {
    const auto found = left_.find(name);
    TACIT_CHECK(found != left_.end(), "[onnx] the encoder has no tensor ", name, ", or its graph uses it twice");
    return left_.extract(found).mapped();
  }

  ModulesByPath modules_;
  nn::StateDict left_;  // what the graph does not have yet
  onnx::Model model_;
};

std::string numbered(const std::string& name, int64_t i) { return name + std::to_string(i); }

/// convolution, norm and ReLU: small_cnn's block, and the step of the others.
Value conv_norm_relu_graph(GraphBuilder& g, const std::string& conv, const std::string& norm, const Value& x) {
  return g.relu(norm, g.batch_norm(norm, g.conv(conv, x)));
}

Value small_cnn_graph(GraphBuilder& g, const nn::SmallCnn& net, Value x) {
  for (int i = 1; i <= net.stages().second; ++i) x = conv_norm_relu_graph(g, numbered("conv", i), numbered("bn", i), x);
  return g.global_avg_pool(x);
}

Value nin_graph(GraphBuilder& g, const nn::Nin& net, Value x) {
  for (int i = 1; i <= net.stages().second; ++i) {
    const std::string block = numbered("block", i);
    for (int64_t j = 1; g.modules().has(numbered(block + ".conv", j)); ++j)
      x = conv_norm_relu_graph(g, numbered(block + ".conv", j), numbered(block + ".bn", j), x);
    if (const auto op = net.pool_behind(static_cast<size_t>(i - 1)))
      x = g.pool(block + ".pool", x, *op, nn::Nin::kPool);
  }
  return g.global_avg_pool(x);
}

Value residual_graph(GraphBuilder& g, const std::string& path, const Value& x) {
  const std::string conv = path + ".conv", norm = path + ".bn";
  Value shortcut = x, y = x;
  if (g.modules().has(path + ".downsample.0"))
    shortcut = g.batch_norm(path + ".downsample.1", g.conv(path + ".downsample.0", x));
  int64_t i = 1;
  for (; g.modules().has(numbered(conv, i + 1)); ++i)
    y = conv_norm_relu_graph(g, numbered(conv, i), numbered(norm, i), y);
  y = g.batch_norm(numbered(norm, i), g.conv(numbered(conv, i), y));
  return g.relu(path, g.add(path + ".sum", "Add", {y, shortcut}));
}

Value resnet_graph(GraphBuilder& g, const nn::ResNet& net, const Value& image) {
  Value x = conv_norm_relu_graph(g, "conv1", "bn1", image);
  if (net.stem() == nn::Stem::ImageNet) x = g.pool("maxpool", x, PoolOp::Max, nn::kStemPool);
  for (int stage = 1; stage <= net.stages().second; ++stage) {
    const std::string layer = numbered("layer", stage) + ".";
    for (int64_t i = 0; g.modules().has(numbered(layer, i)); ++i) x = residual_graph(g, numbered(layer, i), x);
  }
  return g.global_avg_pool(x);
}

/// softmax(q kᵀ / sqrt(D)) v over each head, between the layers qkv and proj.
Value attention_graph(GraphBuilder& g, const std::string& path, const Value& x, int64_t tokens, int64_t dim) {
  const int64_t heads = g.modules().at<nn::MultiheadAttention>(path).heads(), size = dim / heads;
  const std::vector<Value> qkv = g.split_in_three(path + ".split", g.linear(path + ".qkv", x), 2);
  const Value shape = g.sizes(path + ".heads", {0, tokens, heads, size});  // 0: as it is
  const auto head = [&](const char* name, const Value& part, const std::vector<int64_t>& order) {
    const Value split = g.add(path + name + ".heads", "Reshape", {part, shape});
    return g.add(path + name, "Transpose", {split}, {{"perm", order}});
  };
  const Value q = head(".q", qkv[0], {0, 2, 1, 3}), k = head(".kT", qkv[1], {0, 2, 3, 1}),
              v = head(".v", qkv[2], {0, 2, 1, 3});
  const Value scale = g.number(path + ".scale", 1 / std::sqrt(static_cast<double>(size)));
  const Value scores = g.add(path + ".scores", "Mul", {g.add(path + ".qkT", "MatMul", {q, k}), scale});
  const Value weights = g.add(path + ".softmax", "Softmax", {scores}, {{"axis", int64_t{-1}}});
  const Value read = g.add(path + ".read", "MatMul", {weights, v});
  const Value rows = g.add(path + ".rows", "Transpose", {read}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
  return g.linear(path + ".proj",
                  g.add(path + ".joined", "Reshape", {rows, g.sizes(path + ".width", {0, tokens, dim})}));
}

Value transformer_graph(GraphBuilder& g, const std::string& path, const Value& x, int64_t tokens, int64_t dim) {
  const Value read = attention_graph(g, path + ".attn", g.layer_norm(path + ".norm1", x), tokens, dim);
  const Value attended = g.add(path + ".attended", "Add", {x, read});
  const Value hidden = g.gelu(path + ".mlp.gelu", g.linear(path + ".mlp.fc1", g.layer_norm(path + ".norm2", attended)));
  return g.add(path, "Add", {attended, g.linear(path + ".mlp.fc2", hidden)});
}

Value patch_mean_graph(GraphBuilder& g, const Value& tokens) {
  const Value patches =
      g.add("patches", "Slice",
            {tokens, g.sizes("first_patch", {1}), g.sizes("to_the_end", {std::numeric_limits<int64_t>::max()}),
             g.sizes("token_axis", {1})});
  return g.add("mean", "ReduceMean", {patches}, {{"axes", std::vector<int64_t>{1}}, {"keepdims", int64_t{0}}});
}

Value vit_graph(GraphBuilder& g, const nn::ViT& net, const Value& image) {
  const nn::ViTOptions& o = net.options();
  const Value grid = g.conv("patch_embed.proj", image);
  const Value rows =
      g.add("patch_embed.flat", "Reshape", {grid, g.sizes("patch_embed.shape", {0, o.dim, net.tokens()})});
  const Value patches = g.add("patch_embed", "Transpose", {rows}, {{"perm", std::vector<int64_t>{0, 2, 1}}});
  // The class token, once for each image of the batch.
  const Value batch = g.add("batch", "Shape", {image}, {{"start", int64_t{0}}, {"end", int64_t{1}}});
  const Value shape = g.add("cls.shape", "Concat", {batch, g.sizes("cls.sizes", {1, o.dim})}, {{"axis", int64_t{0}}});
  const Value cls = g.add("cls", "Expand", {g.tensor("cls_token"), shape});
  const Value tokens = g.add("tokens", "Concat", {cls, patches}, {{"axis", int64_t{1}}});
  Value x = g.add("embedded", "Add", {tokens, g.tensor("pos_embed")});
  for (int64_t i = 0; i < o.depth; ++i) x = transformer_graph(g, numbered("blocks.", i), x, 1 + net.tokens(), o.dim);
  if (o.pool == nn::Pool::Mean && o.fc_norm) return g.layer_norm("fc_norm", patch_mean_graph(g, x));
  x = g.layer_norm("norm", x);
  if (o.pool == nn::Pool::Mean) return patch_mean_graph(g, x);
  return g.add("cls.normed", "Gather", {x, g.constant("first", Tensor::zeros({}, i64, Device("cpu")))},
               {{"axis", int64_t{1}}});
}

/// (image - mean) / std of pixels in 0…1.
Value normalised_graph(GraphBuilder& g, const ViewPolicy& policy, const Value& image) {
  if (policy.mean.empty()) return image;
  const auto channels = [&](const char* name, const std::vector<float>& values) {
    return g.constant(name, Tensor::from(values, {1, static_cast<int64_t>(values.size()), 1, 1}, Device("cpu")));
  };
  return g.add(
      "normalised", "Div",
      {g.add("centred", "Sub", {image, channels("image_mean", policy.mean)}), channels("image_std", policy.std)});
}

Value network_graph(GraphBuilder& g, nn::Encoder& encoder, const Value& image) {
  if (const auto* const net = encoder.as<nn::ResNet>()) return resnet_graph(g, *net, image);
  if (const auto* const net = encoder.as<nn::SmallCnn>()) return small_cnn_graph(g, *net, image);
  if (const auto* const net = encoder.as<nn::Nin>()) return nin_graph(g, *net, image);
  if (const auto* const net = encoder.as<nn::ViT>()) return vit_graph(g, *net, image);
  throw Error("[onnx] this encoder's graph is not known; known: ResNets, small_cnn, nin, ViTs");
}

}  // namespace

onnx::Model onnx_model(nn::Encoder& encoder, const PlainViews& views, bool include_normalisation) {
  check(!include_normalisation || !views.normalisation.lightness,
        "--include-normalisation: the run's encoder sees the lightness of CIE Lab, (L - 50) / 50, which is not made of "
        "pixels by a mean and std; leave the flag out");
  const int64_t side = views.image_size;
  if (const auto* const net = encoder.as<nn::ViT>()) net->check_images({1, side, side, views.channels});
  GraphBuilder g(encoder);
  const Value image = "image";
  onnx::Model model = g.finish(
      network_graph(g, encoder, include_normalisation ? normalised_graph(g, views.normalisation, image) : image));
  model.name = "encoder";
  model.input = {image, {views.channels, side, side}};
  model.output = {"features", {encoder.features()}};
  return model;
}

}  // namespace tacit::ssl
