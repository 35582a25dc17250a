#include "op_table.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>

#include "tensor/random.h"

namespace tacit::testing {

namespace {

using V = std::vector<Variable>;
using Shapes = std::vector<Shape>;

constexpr double kNoKink = 0.05;

OpInput distinct(const Shape& shape, double low = -1, double high = 1) { return {shape, low, high, Draw::Distinct}; }
OpInput constant(const Shape& shape, double low, double high) { return {shape, low, high, Draw::Uniform, false}; }
OpInput index_below(int64_t n, const Shape& shape) { return {shape, 0, static_cast<double>(n), Draw::Index, false}; }
OpInput mask(const Shape& shape) { return {shape, 0, 1, Draw::Mask, false}; }

// Rows of D elements: a sum inside a row, or over the rows for gains and biases.
int64_t rows_or_columns(const Shapes& s) { return std::max(s[0][-1], s[0].numel() / s[0][-1]); }
int64_t matmul_terms(const Shapes& s) {
  return std::max({s[0][-1], s[0].numel() / s[0][-1], s[0][-2] * s[1].numel() / s[1][-2]});
}
double matmul_flops(const Shapes& s) { return 2.0 * static_cast<double>(s[0].numel()) * static_cast<double>(s[1][-1]); }
// y and dx sum over one kernel, dw over every pixel.
int64_t conv_terms(const Shapes& s) { return std::max({s[1].numel(), s[0].numel() / s[0][3]}); }

void add_elementwise(std::vector<OpRow>& t) {
  const Shapes large = {{33, 1031}}, bench = {{1 << 20}};
#define TACIT_ROW(Functor, function, low, high) \
  t.push_back({.name = #function,               \
               .inputs = {{{3, 4}, low, high}}, \
               .f = [](const V& v) { return function(v[0]); }, \
               .large = large,                  \
               .bench = bench});
  TACIT_FOREACH_UNARY(TACIT_ROW)
#undef TACIT_ROW
  t.push_back({.name = "abs", .variant = "both signs", .inputs = {distinct({3, 4}, -2, 2)}, .f = [](const V& v) { return abs(v[0]); }, .large = large});
  t.push_back({.name = "relu", .variant = "both signs", .inputs = {distinct({3, 4}, -2, 2)}, .f = [](const V& v) { return relu(v[0]); }, .large = large});
}

void add_arithmetic(std::vector<OpRow>& t) {
  const Shapes same = {{1 << 20}, {1 << 20}};
  t.push_back({.name = "add", .inputs = {{{3, 4}}, {{4}}}, .f = [](const V& v) { return add(v[0], v[1]); },
               .large = {{65, 515}, {515}}, .bench = same});
  t.push_back({.name = "sub", .inputs = {{{3, 1}}, {{4}}}, .f = [](const V& v) { return sub(v[0], v[1]); },
               .large = {{65, 1}, {515}}, .bench = same});
  t.push_back({.name = "mul", .inputs = {{{2, 3, 4}}, {{3, 1}}}, .f = [](const V& v) { return mul(v[0], v[1]); },
               .large = {{7, 65, 67}, {65, 1}}, .bench = same});
  t.push_back({.name = "div", .inputs = {{{3, 4}}, {{3, 4}, 0.5, 2}}, .f = [](const V& v) { return div(v[0], v[1]); },
               .large = {{65, 515}, {65, 515}}, .bench = same});
  t.push_back({.name = "maximum", .inputs = {distinct({3, 4}), distinct({3, 4}, -1 - kNoKink, 1)},
               .f = [](const V& v) { return maximum(v[0], v[1]); }, .large = {{65, 515}, {65, 515}}, .bench = same});
  t.push_back({.name = "minimum", .inputs = {distinct({3, 4}), distinct({3, 4}, -1 - kNoKink, 1)},
               .f = [](const V& v) { return minimum(v[0], v[1]); }, .large = {{65, 515}, {65, 515}}, .bench = same});
  t.push_back({.name = "pow", .inputs = {{{3, 4}, 0.3, 2}, {{4}, -2, 2}}, .f = [](const V& v) { return pow(v[0], v[1]); },
               .large = {{65, 515}, {515}}, .bench = same});
  t.push_back({.name = "where", .inputs = {mask({3, 4}), {{3, 4}}, {{4}}},
               .f = [](const V& v) { return where(v[0].value(), v[1], v[2]); }, .large = {{65, 515}, {65, 515}, {515}},
               .bench = {{1 << 20}, {1 << 20}, {1 << 20}}});
  t.push_back({.name = "operator+", .inputs = {{{3, 4}}, {{3, 4}}}, .f = [](const V& v) { return (v[0] + 2.0) + (3.0 + v[1]); }});
  t.push_back({.name = "operator-", .inputs = {{{3, 4}}, {{3, 4}}}, .f = [](const V& v) { return -((v[0] - 2.0) - (3.0 - v[1])); }});
  t.push_back({.name = "operator*", .inputs = {{{3, 4}}, {{3, 4}}}, .f = [](const V& v) { return (v[0] * 2.0) * (3.0 * v[1]); }});
  t.push_back({.name = "operator/", .inputs = {{{3, 4}}, {{3, 4}, 0.5, 2}}, .f = [](const V& v) { return (v[0] / 2.0) / (3.0 / v[1]); }});
}

void add_reductions(std::vector<OpRow>& t) {
  const Shapes large = {{5, 67, 129}}, bench = {{64, 128, 128}};
  t.push_back({.name = "sum", .variant = "everything", .inputs = {{{3, 4}}}, .f = [](const V& v) { return sum(v[0]); }, .large = {{65, 1031}}, .bench = {{1 << 20}}});
  t.push_back({.name = "sum", .variant = "outer and inner", .inputs = {{{2, 3, 4}}}, .f = [](const V& v) { return sum(v[0], {0, -1}); }, .large = large, .bench = bench});
  t.push_back({.name = "sum", .variant = "rows, keepdim", .inputs = {{{2, 3, 4}}}, .f = [](const V& v) { return sum(v[0], {1}, true); }, .large = large});
  t.push_back({.name = "mean", .inputs = {{{2, 3, 4}}}, .f = [](const V& v) { return mean(v[0], {0, 1}); }, .large = large, .bench = bench});
  t.push_back({.name = "mean", .variant = "last, keepdim", .inputs = {{{2, 3, 4}}}, .f = [](const V& v) { return mean(v[0], {2}, true); }, .large = large, .bench = bench});
  t.push_back({.name = "amax", .inputs = {distinct({2, 5, 3})}, .f = [](const V& v) { return amax(v[0], {1}); }, .large = large, .bench = bench});
  t.push_back({.name = "amax", .variant = "last", .inputs = {distinct({2, 5, 3})}, .f = [](const V& v) { return amax(v[0], {-1}, true); }, .large = large, .bench = bench});
  t.push_back({.name = "amin", .inputs = {distinct({3, 4})}, .f = [](const V& v) { return amin(v[0]); }, .large = {{65, 1031}}, .bench = {{1 << 20}}, .broadcast = false});
  t.push_back({.name = "var", .inputs = {{{2, 3, 4}}}, .f = [](const V& v) { return var(v[0], {0, 2}); }, .large = large, .bench = bench});
  t.push_back({.name = "var", .variant = "everything, keepdim", .inputs = {{{3, 4}}}, .f = [](const V& v) { return var(v[0], {}, true); }, .large = {{65, 131}}});
}

void add_products(std::vector<OpRow>& t) {
  t.push_back({.name = "matmul", .inputs = {{{3, 5}}, {{5, 4}}}, .f = [](const V& v) { return matmul(v[0], v[1]); },
               .large = {{67, 129}, {129, 35}}, .bench = {{512, 512}, {512, 512}}, .flops = matmul_flops, .summed = matmul_terms});
  t.push_back({.name = "matmul", .variant = "one matrix for a batch", .inputs = {{{2, 3, 5}}, {{5, 4}}},
               .f = [](const V& v) { return matmul(v[0], v[1]); }, .large = {{5, 17, 33}, {33, 9}}, .flops = matmul_flops, .summed = matmul_terms});
  t.push_back({.name = "matmul", .variant = "batches broadcast", .inputs = {{{2, 1, 3, 4}}, {{3, 4, 2}}},
               .f = [](const V& v) { return matmul(v[0], v[1]); }, .large = {{3, 1, 17, 33}, {5, 33, 9}},
               .bench = {{12, 8, 197, 64}, {8, 64, 197}}, .flops = matmul_flops, .summed = matmul_terms});
  t.push_back({.name = "linear", .inputs = {{{2, 3, 5}}, {{4, 5}}, {{4}}}, .f = [](const V& v) { return linear(v[0], v[1], v[2]); },
               .large = {{3, 21, 67}, {35, 67}, {35}}, .bench = {{512, 512}, {512, 512}, {512}},
               .flops = [](const Shapes& s) { return 2.0 * static_cast<double>(s[0].numel()) * static_cast<double>(s[1][0]); },
               .summed = [](const Shapes& s) { return std::max({s[1][0], s[1][1], s[0].numel() / s[0][-1]}); }});
}

void add_shapes(std::vector<OpRow>& t) {
  const Shapes large = {{9, 33, 70}}, bench = {{64, 128, 128}};
  t.push_back({.name = "reshape", .inputs = {{{2, 3, 4}}}, .f = [](const V& v) { return reshape(v[0], {v[0].size(2), -1}); }, .large = large});
  t.push_back({.name = "flatten", .inputs = {{{2, 3, 4}}}, .f = [](const V& v) { return flatten(v[0], 1); }, .large = large});
  t.push_back({.name = "permute", .inputs = {{{2, 3, 4}}}, .f = [](const V& v) { return permute(v[0], {2, 0, -2}); }, .large = large});
  t.push_back({.name = "transpose", .inputs = {{{2, 3, 4}}}, .f = [](const V& v) { return transpose(v[0], 0, -1); }, .large = large});
  t.push_back({.name = "slice", .inputs = {{{2, 6, 3}}}, .f = [](const V& v) { return slice(v[0], 1, 1, -1, 2); }, .large = large, .bench = bench});
  t.push_back({.name = "select", .inputs = {{{2, 3, 4}}}, .f = [](const V& v) { return select(v[0], 1, -1); }, .large = large, .bench = bench});
  t.push_back({.name = "broadcast_to", .inputs = {{{3, 1}}}, .f = [](const V& v) { return broadcast_to(v[0], {2, v[0].size(0), 4}); }, .large = {{65, 1}}});
  t.push_back({.name = "unsqueeze", .inputs = {{{2, 3}}}, .f = [](const V& v) { return unsqueeze(v[0], -1); }, .large = {{33, 70}}});
  t.push_back({.name = "squeeze", .inputs = {{{2, 1, 3}}}, .f = [](const V& v) { return squeeze(v[0], 1); }, .large = {{33, 1, 70}}});
  t.push_back({.name = "concatenate", .inputs = {{{2, 3}}, {{2, 1}}, {{2, 2}}}, .f = [](const V& v) { return concatenate(v, -1); },
               .large = {{33, 70}, {33, 5}, {33, 129}}, .bench = {{512, 512}, {512, 512}, {512, 512}}});
  t.push_back({.name = "stack", .inputs = {{{2, 3}}, {{2, 3}}}, .f = [](const V& v) { return stack(v, 1); },
               .large = {{33, 70}, {33, 70}}, .bench = {{512, 512}, {512, 512}}});
  t.push_back({.name = "gather", .inputs = {{{3, 5}}, index_below(5, {3, 4})}, .f = [](const V& v) { return gather(v[0], 1, v[1].value()); },
               .large = {{33, 129}, {33, 300}}, .bench = {{1024, 512}, {1024, 512}},
               .summed = [](const Shapes& s) { return s[1][1]; }});
  t.push_back({.name = "gather", .variant = "broadcast index", .inputs = {{{5, 3, 2}}, index_below(5, {4, 1, 1})},
               .f = [](const V& v) { return gather(v[0], 0, v[1].value()); }, .large = {{129, 3, 7}, {300, 1, 1}},
               .summed = [](const Shapes& s) { return s[1][0]; }});
  t.push_back({.name = "index_select", .inputs = {{{2, 4, 3}}, index_below(4, {6})},
               .f = [](const V& v) { return index_select(v[0], 1, v[1].value()); }, .large = {{5, 33, 70}, {64}},
               .bench = {{1, 4096, 256}, {1024}}, .summed = [](const Shapes& s) { return s[1][0]; }});
}

void add_images(std::vector<OpRow>& t) {
  const auto conv_row = [&](const char* variant, const Conv2dOptions& o, const Shape& x, const Shape& w, const Shapes& large, const Shapes& bench) {
    t.push_back({.name = "conv2d", .variant = variant, .inputs = {{x}, {w}},
                 .f = [o](const V& v) { return conv2d(v[0], v[1], o); }, .large = large, .bench = bench,
                 .flops = [o](const Shapes& s) {
                   const Shape y = conv2d_geometry(s[0], s[1], o).second;
                   return 2.0 * static_cast<double>(y.numel()) * static_cast<double>(s[1].numel() / s[1][0]);
                 },
                 .summed = conv_terms});
  };
  conv_row("3x3, padding 1", {.padding = 1}, {2, 5, 4, 3}, {4, 3, 3, 3}, {{3, 13, 11, 19}, {21, 3, 3, 19}}, {{64, 16, 16, 64}, {64, 3, 3, 64}});
  conv_row("3x3, stride 2", {.stride = 2, .padding = 1}, {2, 5, 6, 2}, {3, 3, 3, 2}, {{3, 14, 11, 17}, {33, 3, 3, 17}}, {{64, 16, 16, 64}, {128, 3, 3, 64}});
  conv_row("1x1", {}, {2, 3, 2, 4}, {5, 1, 1, 4}, {{3, 9, 11, 35}, {37, 1, 1, 35}}, {{64, 16, 16, 64}, {256, 1, 1, 64}});
  conv_row("1x1, stride 2", {.stride = 2}, {2, 4, 5, 3}, {4, 1, 1, 3}, {{3, 9, 11, 35}, {37, 1, 1, 35}}, {{64, 16, 16, 64}, {128, 1, 1, 64}});
  conv_row("2x3 kernel", {.padding = 1}, {1, 4, 4, 2}, {3, 2, 3, 2}, {{2, 9, 10, 7}, {9, 2, 3, 7}}, {});
  conv_row("dilation 2", {.padding = 2, .dilation = 2}, {2, 6, 5, 2}, {3, 3, 3, 2}, {{2, 11, 13, 9}, {17, 3, 3, 9}}, {});
  conv_row("groups 2", {.padding = 1, .groups = 2}, {2, 4, 5, 4}, {6, 3, 3, 2}, {{2, 9, 11, 18}, {20, 3, 3, 9}}, {{64, 16, 16, 64}, {64, 3, 3, 32}});
  conv_row("depthwise", {.padding = 1, .groups = 4}, {2, 4, 4, 4}, {4, 3, 3, 1}, {{2, 9, 11, 4}, {4, 3, 3, 1}}, {});
  conv_row("7x7, stride 2", {.stride = 2, .padding = 3}, {1, 8, 7, 3}, {2, 7, 7, 3}, {{2, 23, 21, 3}, {17, 7, 7, 3}}, {{16, 64, 64, 3}, {64, 7, 7, 3}});

  const Shapes large = {{3, 13, 11, 19}}, bench = {{64, 32, 32, 64}};
  t.push_back({.name = "max_pool2d", .inputs = {distinct({2, 5, 4, 2})}, .f = [](const V& v) { return max_pool2d(v[0]); }, .large = large, .bench = bench});
  t.push_back({.name = "max_pool2d", .variant = "3, stride 2, padding 1", .inputs = {distinct({2, 5, 4, 2})},
               .f = [](const V& v) { return max_pool2d(v[0], {.kernel = 3, .stride = 2, .padding = 1}); }, .large = large, .bench = bench});
  t.push_back({.name = "avg_pool2d", .inputs = {{{2, 5, 4, 2}}},
               .f = [](const V& v) { return avg_pool2d(v[0], {.kernel = 3, .stride = 2, .padding = 1}); }, .large = large, .bench = bench,
               .summed = [](const Shapes&) { return 9; }});
  t.push_back({.name = "adaptive_avg_pool2d", .inputs = {{{2, 5, 7, 2}}}, .f = [](const V& v) { return adaptive_avg_pool2d(v[0], 2, 3); },
               .large = large, .bench = bench});
  t.push_back({.name = "global_avg_pool", .inputs = {{{2, 3, 4, 3}}}, .f = [](const V& v) { return global_avg_pool(v[0]); }, .large = large, .bench = bench});
}

void add_norms(std::vector<OpRow>& t) {
  const Shapes large = {{5, 7, 9, 35}, {35}, {35}}, bench = {{64, 32, 32, 64}, {64}, {64}};
  const OpInput gamma{{3}, 0.5, 2}, beta{{3}};
  const auto fresh = [](const Variable& x) {
    return RunningStats{Tensor::zeros({x.size(-1)}, x.dtype(), x.value().device()), Tensor::ones({x.size(-1)}, x.dtype(), x.value().device())};
  };
  t.push_back({.name = "batch_norm", .variant = "training", .inputs = {{{4, 3, 2, 3}}, gamma, beta},
               .f = [fresh](const V& v) { return batch_norm(v[0], v[1], v[2], fresh(v[0]), true); }, .large = large, .bench = bench, .summed = rows_or_columns});
  t.push_back({.name = "batch_norm", .variant = "rows, no gain or bias", .inputs = {{{6, 3}}},
               .f = [](const V& v) { return batch_norm(v[0], {}, {}, {}, true); }, .large = {{129, 35}}, .summed = rows_or_columns, .broadcast = false});
  t.push_back({.name = "batch_norm", .variant = "evaluation", .inputs = {{{4, 2, 2, 3}}, gamma, beta, constant({3}, -1, 1), constant({3}, 0.5, 2)},
               .f = [](const V& v) { return batch_norm(v[0], v[1], v[2], {v[3].value(), v[4].value()}, false); },
               .large = {{5, 7, 9, 35}, {35}, {35}, {35}, {35}}, .summed = rows_or_columns});
  t.push_back({.name = "batch_norm_relu", .inputs = {{{4, 3, 2, 3}}, gamma, beta},
               .f = [fresh](const V& v) { return batch_norm_relu(v[0], v[1], v[2], {}, fresh(v[0]), true); }, .large = large, .bench = bench, .summed = rows_or_columns});
  t.push_back({.name = "batch_norm_relu", .variant = "residual", .inputs = {{{4, 3, 2, 3}}, gamma, beta, {{4, 3, 2, 3}}},
               .f = [fresh](const V& v) { return batch_norm_relu(v[0], v[1], v[2], v[3], fresh(v[0]), true); },
               .large = {{5, 7, 9, 35}, {35}, {35}, {5, 7, 9, 35}}, .bench = {{64, 32, 32, 64}, {64}, {64}, {64, 32, 32, 64}}, .summed = rows_or_columns});
  t.push_back({.name = "batch_norm_relu", .variant = "evaluation", .inputs = {{{4, 2, 2, 3}}, gamma, beta, {{4, 2, 2, 3}}, constant({3}, -1, 1), constant({3}, 0.5, 2)},
               .f = [](const V& v) { return batch_norm_relu(v[0], v[1], v[2], v[3], {v[4].value(), v[5].value()}, false); },
               .large = {{5, 7, 9, 35}, {35}, {35}, {5, 7, 9, 35}, {35}, {35}}, .summed = rows_or_columns});
  t.push_back({.name = "layer_norm", .inputs = {{{3, 2, 3}}, gamma, beta}, .f = [](const V& v) { return layer_norm(v[0], v[1], v[2]); },
               .large = {{5, 13, 67}, {67}, {67}}, .bench = {{64, 197, 192}, {192}, {192}}, .summed = rows_or_columns});
  t.push_back({.name = "layer_norm", .variant = "no gain or bias", .inputs = {{{3, 5}}}, .f = [](const V& v) { return layer_norm(v[0], {}, {}); },
               .large = {{65, 67}}, .summed = rows_or_columns});
  t.push_back({.name = "l2_normalize", .inputs = {{{4, 5}}}, .f = [](const V& v) { return l2_normalize(v[0]); },
               .large = {{65, 131}}, .bench = {{4096, 128}}, .summed = rows_or_columns});
}

void add_losses(std::vector<OpRow>& t) {
  const Shapes large = {{65, 131}}, bench = {{2048, 1024}};
  t.push_back({.name = "softmax", .inputs = {{{3, 5}, -3, 3}}, .f = [](const V& v) { return softmax(v[0]); }, .large = large, .bench = bench, .summed = rows_or_columns});
  t.push_back({.name = "log_softmax", .inputs = {{{3, 5}, -3, 3}}, .f = [](const V& v) { return log_softmax(v[0]); }, .large = large, .bench = bench, .summed = rows_or_columns});
  t.push_back({.name = "cross_entropy", .inputs = {{{5, 4}, -3, 3}, index_below(4, {5})}, .f = [](const V& v) { return cross_entropy(v[0], v[1].value()); },
               .large = {{65, 131}, {65}}, .bench = {{2048, 1024}, {2048}}, .summed = rows_or_columns});
  t.push_back({.name = "cross_entropy", .variant = "smoothing", .inputs = {{{5, 4}, -3, 3}, index_below(4, {5})},
               .f = [](const V& v) { return cross_entropy(v[0], v[1].value(), 0.1); }, .large = {{65, 131}, {65}}, .summed = rows_or_columns});
  t.push_back({.name = "dropout", .inputs = {{{5, 7}}}, .f = [](const V& v) { return dropout(v[0], 0.3, 7, 11, 5); }, .large = {{65, 131}}, .bench = {{1 << 20}}});
}

// ---- running a row

template <class T>
Tensor typed(const std::vector<double>& values, const Shape& shape, Device device) {
  return Tensor::from(std::vector<T>(values.begin(), values.end()), shape, device);
}

// Floating values are rounded to f32 first, so that every dtype sees the same numbers.
std::vector<double> draw(const OpInput& input, const Shape& shape, Random& random) {
  const int64_t n = shape.numel();
  std::vector<double> values;
  for (int64_t i = 0; i < n; ++i) {
    switch (input.draw) {
      case Draw::Uniform: values.push_back(static_cast<float>(random.uniform(input.low, input.high))); break;
      case Draw::Distinct:
        values.push_back(static_cast<float>(input.low + (input.high - input.low) * (static_cast<double>(i) + 0.5) / static_cast<double>(n)));
        break;
      case Draw::Index: values.push_back(static_cast<double>(random.below(static_cast<uint64_t>(input.high)))); break;
      case Draw::Mask: values.push_back(random.chance(0.5) ? 1 : 0); break;
    }
  }
  if (input.draw == Draw::Distinct)
    for (size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[random.below(i)]);
  return values;
}

double largest(const std::vector<double>& values) {
  double m = 0;
  for (const double v : values) m = std::max(m, std::abs(v));
  return m;
}

int64_t terms(const OpRow& row, const OpResult& result) {
  Shapes shapes;
  int64_t smallest = std::max<int64_t>(result.value.numel(), 1), biggest = smallest;
  for (const Tensor& g : result.gradients) {
    shapes.push_back(g.defined() ? g.shape() : Shape{});
    if (!g.defined() || g.numel() == 0) continue;
    smallest = std::min(smallest, g.numel());
    biggest = std::max(biggest, g.numel());
  }
  return row.summed ? row.summed(shapes) : biggest / smallest;
}

}  // namespace

std::vector<Shape> OpRow::shapes() const {
  std::vector<Shape> s;
  for (const OpInput& input : inputs) s.push_back(input.shape);
  return s;
}

const std::vector<OpRow>& op_table() {
  static const std::vector<OpRow> table = [] {
    std::vector<OpRow> t;
    add_elementwise(t);
    add_arithmetic(t);
    add_reductions(t);
    add_products(t);
    add_shapes(t);
    add_images(t);
    add_norms(t);
    add_losses(t);
    return t;
  }();
  return table;
}

Tensor with_layout(const Tensor& x, Layout layout) {
  if (layout == Layout::Contiguous || x.rank() == 0) return x;
  if (layout == Layout::Broadcast) return x.slice(0, 0, 1).broadcast_to(x.shape());
  const Tensor reversed = x.transpose(0, -1);
  Shape doubled = reversed.shape();
  doubled[-1] *= 2;
  const double gap = is_floating(x.dtype()) ? std::numeric_limits<double>::quiet_NaN() : 0;
  Tensor strided = Tensor::full(doubled, gap, x.dtype(), x.device()).slice(-1, 0, doubled[-1], 2);
  strided.copy_(reversed);
  return strided.transpose(0, -1);
}

std::vector<Tensor> make_inputs(const OpRow& row, const std::vector<Shape>& shapes, DType dtype, Device device,
                                Layout layout) {
  std::vector<Tensor> tensors;
  for (size_t i = 0; i < row.inputs.size(); ++i) {
    const OpInput& input = row.inputs[i];
    Random random(1, random_stream("op_table " + row.label(), i));
    OpInput sized = input;
    // An index into a resized dimension: anything below the row's own bound stays in range, and may use more of it.
    const std::vector<double> values = draw(sized, shapes[i], random);
    Tensor t;
    if (input.draw == Draw::Index) t = typed<int64_t>(values, shapes[i], device);
    else if (input.draw == Draw::Mask) t = typed<uint8_t>(values, shapes[i], device);
    else if (dtype == f64) t = typed<double>(values, shapes[i], device);
    else t = typed<float>(values, shapes[i], device);
    tensors.push_back(with_layout(t, layout));
  }
  return tensors;
}

OpResult run(const OpRow& row, const std::vector<Tensor>& inputs) {
  std::vector<Variable> variables;
  for (size_t i = 0; i < inputs.size(); ++i)
    variables.push_back(row.inputs[i].differentiable ? Variable::leaf(inputs[i]) : Variable(inputs[i]));
  const Variable y = row.f(variables);
  OpResult result{y.value(), {}};
  Random random(1, random_stream("op_table cotangent"));
  std::vector<double> cotangent;
  for (int64_t i = 0; i < y.value().numel(); ++i) cotangent.push_back(static_cast<float>(random.normal()));
  y.backward(y.dtype() == f64 ? typed<double>(cotangent, y.shape(), y.value().device())
                              : typed<float>(cotangent, y.shape(), y.value().device()));
  for (const Variable& v : variables) result.gradients.push_back(v.requires_grad() ? v.grad() : Tensor());
  return result;
}

std::string compare(const OpRow& row, const OpResult& got, const OpResult& expected) {
  const auto k = static_cast<double>(terms(row, expected));
  std::ostringstream text;
  const auto check = [&](const std::string& what, const Tensor& a, const Tensor& b) {
    if (a.defined() != b.defined()) {
      text << what << " is missing on one side; ";
      return;
    }
    if (!a.defined()) return;
    if (a.shape() != b.shape()) {
      text << what << " has shape " << a.shape() << ", expected " << b.shape() << "; ";
      return;
    }
    const std::vector<double> x = a.to(f64).to_vector<double>(), y = b.to(f64).to_vector<double>();
    const double allowed = row.tolerance * 8 * std::numeric_limits<float>::epsilon() * std::sqrt(k) * largest(y);
    double worst = 0;
    size_t at = 0;
    for (size_t i = 0; i < x.size() && !std::isnan(worst); ++i)
      if (const double error = std::abs(x[i] - y[i]); !(error <= worst)) worst = error, at = i;
    if (!(worst <= allowed))
      text << what << "[" << at << "] is " << x[at] << ", expected " << y[at] << ", off by " << worst << ", allowed " << allowed << "; ";
  };
  check("value", got.value, expected.value);
  for (size_t i = 0; i < got.gradients.size(); ++i) check("gradient " + std::to_string(i), got.gradients[i], expected.gradients[i]);
  return text.str();
}

}  // namespace tacit::testing
