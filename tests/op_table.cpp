// The rows of the op table. Small shapes for the gradient checks; odd larger ones for the comparison of backends.
#include "op_table.h"

#include <algorithm>
#include <utility>

namespace tacit::testing {

namespace {

using V = std::vector<Variable>;
using Shapes = std::vector<Shape>;

OpInput distinct(const Shape& shape, double low = -1, double high = 1) { return {shape, low, high, Draw::Distinct}; }
OpInput constant(const Shape& shape, double low, double high) { return {shape, low, high, Draw::Uniform, false}; }
OpInput index_into(int dim, const Shape& shape) { return {shape, 0, 0, Draw::Index, false, dim}; }
OpInput mask(const Shape& shape) { return {shape, 0, 1, Draw::Mask, false}; }

/// Adds rows to a table: rows("add", inputs, f).large(…).bench(…).
class Rows {
 public:
  Rows& operator()(std::string name, std::vector<OpInput> inputs, std::function<Variable(const V&)> f) {
    table_.push_back({.name = std::move(name), .inputs = std::move(inputs), .f = std::move(f)});
    return *this;
  }
  Rows& variant(std::string v) { return table_.back().variant = std::move(v), *this; }
  Rows& large(Shapes s) { return table_.back().large = std::move(s), *this; }
  Rows& bench(Shapes s) { return table_.back().bench = std::move(s), *this; }
  Rows& flops(std::function<double(const Shapes&)> f) { return table_.back().flops = std::move(f), *this; }
  Rows& summed(std::function<int64_t(const Shapes&)> f) { return table_.back().summed = std::move(f), *this; }
  Rows& no_broadcast() { return table_.back().broadcast = false, *this; }
  std::vector<OpRow> take() { return std::move(table_); }

 private:
  std::vector<OpRow> table_;
};

// Sums run along a row, or down a column for the gradients of gains and biases.
int64_t row_or_column(const Shapes& s) { return std::max(s[0][-1], s[0].numel() / s[0][-1]); }
int64_t matmul_terms(const Shapes& s) {
  return std::max({s[0][-1], s[0].numel() / s[0][-1], s[0][-2] * s[1].numel() / s[1][-2]});
}
double matmul_flops(const Shapes& s) { return 2.0 * static_cast<double>(s[0].numel() * s[1][-1]); }
int64_t linear_terms(const Shapes& s) { return std::max({s[1][0], s[1][1], s[0].numel() / s[0][-1]}); }
double linear_flops(const Shapes& s) { return 2.0 * static_cast<double>(s[0].numel() * s[1][0]); }
// y and dx sum over a kernel, dw over every pixel.
int64_t conv_terms(const Shapes& s) { return std::max(s[1].numel(), s[0].numel() / s[0][3]); }

void elementwise(Rows& row) {
  const Shapes large = {{33, 1031}};
#define TACIT_ROW(Functor, function, low, high) \
  row(#function, {{{3, 4}, low, high}}, [](const V& v) { return function(v[0]); }).large(large).bench({{1 << 20}});
  TACIT_FOREACH_UNARY(TACIT_ROW)
#undef TACIT_ROW
  row("abs", {distinct({3, 4}, -2, 2)}, [](const V& v) { return abs(v[0]); }).variant("both signs").large(large);
  row("relu", {distinct({3, 4}, -2, 2)}, [](const V& v) { return relu(v[0]); }).variant("both signs").large(large);
}

void arithmetic(Rows& row) {
  const Shapes same = {{65, 515}, {65, 515}}, spread = {{65, 515}, {515}}, bench = {{1 << 20}, {1 << 20}};
  row("add", {{{3, 4}}, {{4}}}, [](const V& v) { return add(v[0], v[1]); }).large(spread).bench(bench);
  row("sub", {{{3, 1}}, {{4}}}, [](const V& v) { return sub(v[0], v[1]); }).large({{65, 1}, {515}}).bench(bench);
  row("mul", {{{2, 3, 4}}, {{3, 1}}}, [](const V& v) { return mul(v[0], v[1]); })
      .large({{7, 65, 67}, {65, 1}})
      .bench(bench);
  row("div", {{{3, 4}}, {{3, 4}, 0.5, 2}}, [](const V& v) { return div(v[0], v[1]); }).large(same).bench(bench);
  // Different ranges, so that no two elements tie.
  row("maximum", {distinct({3, 4}), distinct({3, 4}, -1.05, 1)}, [](const V& v) { return maximum(v[0], v[1]); })
      .large(same)
      .bench(bench);
  row("minimum", {distinct({3, 4}), distinct({3, 4}, -1.05, 1)}, [](const V& v) { return minimum(v[0], v[1]); })
      .large(same)
      .bench(bench);
  row("pow", {{{3, 4}, 0.3, 2}, {{4}, -2, 2}}, [](const V& v) { return pow(v[0], v[1]); }).large(spread).bench(bench);
  row("where", {mask({3, 4}), {{3, 4}}, {{4}}}, [](const V& v) { return where(v[0].value(), v[1], v[2]); })
      .large({{65, 515}, {65, 515}, {515}})
      .bench({{1 << 20}, {1 << 20}, {1 << 20}});
  row("add_bias", {{{2, 3, 4}}, {{3, 1}}}, [](const V& v) {
    return add_bias(v[0], v[1]);
  }).large({{7, 65, 67}, {65, 1}});
  row("cast", {{{3, 4}}}, [](const V& v) { return cast(cast(v[0], f64) * 2.0, v[0].dtype()); }).large({{33, 1031}});
  row("widen", {{{3, 4}}}, [](const V& v) { return widen(v[0]) * 2.0; });
  row("operator+", {{{3, 4}}, {{3, 4}}}, [](const V& v) { return (v[0] + 2.0) + (3.0 + v[1]); });
  row("operator-", {{{3, 4}}, {{3, 4}}}, [](const V& v) { return -((v[0] - 2.0) - (3.0 - v[1])); });
  row("operator*", {{{3, 4}}, {{3, 4}}}, [](const V& v) { return (v[0] * 2.0) * (3.0 * v[1]); });
  row("operator/", {{{3, 4}}, {{3, 4}, 0.5, 2}}, [](const V& v) { return (v[0] / 2.0) / (3.0 / v[1]); });
}

void reductions(Rows& row) {
  const Shapes all = {{65, 1031}}, large = {{5, 67, 129}}, bench = {{64, 128, 128}};
  row("sum", {{{3, 4}}}, [](const V& v) { return sum(v[0]); }).large(all).bench({{1 << 20}});
  row("sum", {{{2, 3, 4}}},
      [](const V& v) {
        return sum(v[0], {0, -1});
      })
      .variant("outer and inner")
      .large(large)
      .bench(bench);
  row("sum", {{{2, 3, 4}}}, [](const V& v) { return sum(v[0], {1}, true); }).variant("middle").large(large);
  row("mean", {{{2, 3, 4}}}, [](const V& v) { return mean(v[0], {0, 1}); }).large(large).bench(bench);
  row("mean", {{{2, 3, 4}}}, [](const V& v) { return mean(v[0], {2}, true); }).variant("last").large(large);
  row("amax", {distinct({2, 5, 3})}, [](const V& v) { return amax(v[0], {1}); }).large(large).bench(bench);
  row("amax", {distinct({2, 5, 3})}, [](const V& v) { return amax(v[0], {-1}, true); }).variant("last").large(large);
  row("amin", {distinct({3, 4})}, [](const V& v) { return amin(v[0]); }).large(all).bench({{1 << 20}}).no_broadcast();
  row("var", {{{2, 3, 4}}}, [](const V& v) { return var(v[0], {0, 2}); }).large(large).bench(bench);
  row("var", {{{3, 4}}}, [](const V& v) { return var(v[0], {}, true); }).variant("everything").large({{65, 131}});
}

void products(Rows& row) {
  const auto product = [](const V& v) { return matmul(v[0], v[1]); };
  row("matmul", {{{3, 5}}, {{5, 4}}}, product)
      .large({{67, 129}, {129, 35}})
      .bench({{512, 512}, {512, 512}})
      .flops(matmul_flops)
      .summed(matmul_terms);
  row("matmul", {{{2, 3, 5}}, {{5, 4}}}, product)
      .variant("one matrix for a batch")
      .large({{5, 17, 33}, {33, 9}})
      .summed(matmul_terms);
  row("matmul", {{{2, 1, 3, 4}}, {{3, 4, 2}}}, product)
      .variant("batches broadcast")
      .large({{3, 1, 17, 33}, {5, 33, 9}})
      .summed(matmul_terms);
  row("matmul", {{{3, 2, 4}}, {{3, 4, 5}}}, product)
      .variant("batch")
      .large({{7, 17, 33}, {7, 33, 19}})
      .bench({{96, 197, 64}, {96, 64, 197}})
      .flops(matmul_flops)
      .summed(matmul_terms);
  row("linear", {{{2, 3, 5}}, {{4, 5}}, {{4}}}, [](const V& v) { return linear(v[0], v[1], v[2]); })
      .large({{3, 21, 67}, {35, 67}, {35}})
      .bench({{512, 512}, {512, 512}, {512}})
      .flops(linear_flops)
      .summed(linear_terms);
  row("linear", {{{3, 5}}, {{4, 5}}}, [](const V& v) { return linear(v[0], v[1]); })
      .variant("no bias")
      .large({{65, 67}, {35, 67}})
      .summed(linear_terms);
  row("feed_forward", {{{2, 3, 5}}, {{6, 5}}, {{6}}, {{4, 6}}, {{4}}},
      [](const V& v) { return feed_forward(v[0], v[1], v[2], v[3], v[4]); })
      .large({{3, 21, 67}, {90, 67}, {90}, {35, 90}, {35}})
      .bench({{16, 65, 192}, {768, 192}, {768}, {192, 768}, {192}})
      .flops([](const std::vector<Shape>& s) { return 4.0 * static_cast<double>(s[0].numel() * s[1][0]); })
      .summed([](const std::vector<Shape>& s) { return s[1].numel(); });
}

void shapes(Rows& row) {
  const Shapes large = {{9, 33, 70}}, bench = {{64, 128, 128}};
  row("reshape", {{{2, 3, 4}}}, [](const V& v) { return reshape(v[0], {v[0].size(2), -1}); }).large(large);
  row("flatten", {{{2, 3, 4}}}, [](const V& v) { return flatten(v[0], 1); }).large(large);
  row("permute", {{{2, 3, 4}}}, [](const V& v) { return permute(v[0], {2, 0, -2}); }).large(large);
  row("transpose", {{{2, 3, 4}}}, [](const V& v) { return transpose(v[0], 0, -1); }).large(large);
  row("slice", {{{2, 6, 3}}}, [](const V& v) { return slice(v[0], 1, 1, -1, 2); }).large(large).bench(bench);
  row("select", {{{2, 3, 4}}}, [](const V& v) { return select(v[0], 1, -1); }).large(large).bench(bench);
  row("broadcast_to", {{{3, 1}}}, [](const V& v) { return broadcast_to(v[0], {2, v[0].size(0), 4}); }).large({{65, 1}});
  row("unsqueeze", {{{2, 3}}}, [](const V& v) { return unsqueeze(v[0], -1); }).large({{33, 70}});
  row("squeeze", {{{2, 1, 3}}}, [](const V& v) { return squeeze(v[0], 1); }).large({{33, 1, 70}});
  row("concatenate", {{{2, 3}}, {{2, 1}}, {{2, 2}}}, [](const V& v) { return concatenate(v, -1); })
      .large({{33, 70}, {33, 5}, {33, 129}})
      .bench({{512, 512}, {512, 512}, {512, 512}});
  row("stack", {{{2, 3}}, {{2, 3}}}, [](const V& v) { return stack(v, 1); }).large({{33, 70}, {33, 70}});
  row("gather", {{{3, 5}}, index_into(1, {3, 4})}, [](const V& v) { return gather(v[0], 1, v[1].value()); })
      .large({{33, 129}, {33, 300}})
      .bench({{1024, 512}, {1024, 512}})
      .summed([](const Shapes&) { return 8; });
  row("gather", {{{5, 3, 2}}, index_into(0, {4, 1, 1})}, [](const V& v) { return gather(v[0], 0, v[1].value()); })
      .variant("broadcast index")
      .large({{129, 3, 7}, {300, 1, 1}})
      .summed([](const Shapes&) { return 8; });
  row("index_select", {{{2, 4, 3}}, index_into(1, {6})}, [](const V& v) { return index_select(v[0], 1, v[1].value()); })
      .large({{5, 33, 70}, {64}})
      .bench({{1, 4096, 256}, {1024}})
      .summed([](const Shapes&) { return 8; });
}

void convolutions(Rows& row) {
  const auto conv = [&row](const std::string& variant, const Conv2dOptions& o, const Shape& x, const Shape& w,
                           Shapes large, Shapes bench = {}) {
    row("conv2d", {{x}, {w}}, [o](const V& v) { return conv2d(v[0], v[1], o); })
        .variant(variant)
        .large(std::move(large))
        .bench(std::move(bench))
        .flops([o](const Shapes& s) {
          const Shape y = conv2d_geometry(s[0], s[1], o).second;
          return 2.0 * static_cast<double>(y.numel() * s[1].numel() / s[1][0]);
        })
        .summed(conv_terms);
  };
  conv("3x3", {.padding = 1}, {2, 5, 4, 3}, {4, 3, 3, 3}, {{3, 13, 11, 19}, {21, 3, 3, 19}},
       {{64, 16, 16, 64}, {64, 3, 3, 64}});
  // Every way to compute it (see ConvAlgorithm), at sizes that tiles of 2 and of 4 do not divide.
  for (const auto& [name, algorithm] :
       {std::pair{"direct", ConvAlgorithm::Direct}, {"F(2)", ConvAlgorithm::F2}, {"F(4)", ConvAlgorithm::F4}}) {
    const auto named = [name = name](const char* what) { return std::string("3x3, ") + name + what; };
    conv(named(""), {.padding = 1, .algorithm = algorithm}, {2, 5, 4, 3}, {4, 3, 3, 3}, {{3, 7, 7, 20}, {33, 3, 3, 20}},
         {{64, 16, 16, 64}, {64, 3, 3, 64}});
    conv(named(", one image"), {.padding = 0, .algorithm = algorithm}, {1, 4, 6, 2}, {2, 3, 3, 2},
         {{1, 5, 9, 49}, {18, 3, 3, 49}});
    conv(named(", one pixel"), {.padding = 1, .algorithm = algorithm}, {2, 1, 1, 3}, {4, 3, 3, 3},
         {{5, 1, 1, 16}, {32, 3, 3, 16}});
    conv(named(", wide padding"), {.padding = 2, .algorithm = algorithm}, {1, 3, 4, 2}, {3, 3, 3, 2},
         {{2, 9, 12, 70}, {40, 3, 3, 70}});
  }
  conv("3x3, stride 2", {.stride = 2, .padding = 1}, {2, 5, 6, 2}, {3, 3, 3, 2}, {{3, 14, 11, 17}, {33, 3, 3, 17}},
       {{64, 16, 16, 64}, {128, 3, 3, 64}});
  conv("1x1", {}, {2, 3, 2, 4}, {5, 1, 1, 4}, {{3, 9, 11, 35}, {37, 1, 1, 35}}, {{64, 16, 16, 64}, {256, 1, 1, 64}});
  conv("1x1, stride 2", {.stride = 2}, {2, 4, 5, 3}, {4, 1, 1, 3}, {{3, 9, 11, 35}, {37, 1, 1, 35}},
       {{64, 16, 16, 64}, {128, 1, 1, 64}});
  conv("7x7, stride 2", {.stride = 2, .padding = 3}, {1, 8, 7, 3}, {2, 7, 7, 3}, {{2, 23, 21, 3}, {17, 7, 7, 3}},
       {{16, 64, 64, 3}, {64, 7, 7, 3}});
  conv("2x3", {.padding = 1}, {1, 4, 4, 2}, {3, 2, 3, 2}, {{2, 9, 10, 7}, {9, 2, 3, 7}});
  conv("stride 3", {.stride = 3}, {1, 7, 6, 2}, {3, 2, 2, 2}, {{2, 19, 18, 7}, {9, 2, 2, 7}});
  conv("dilation 2", {.padding = 2, .dilation = 2}, {2, 6, 5, 2}, {3, 3, 3, 2}, {{2, 11, 13, 9}, {17, 3, 3, 9}});
  conv("groups 2", {.padding = 1, .groups = 2}, {2, 4, 5, 4}, {6, 3, 3, 2}, {{2, 9, 11, 18}, {20, 3, 3, 9}},
       {{64, 16, 16, 64}, {64, 3, 3, 32}});
  conv("depthwise", {.padding = 1, .groups = 4}, {2, 4, 4, 4}, {4, 3, 3, 1}, {{2, 9, 11, 4}, {4, 3, 3, 1}});
}

void pools(Rows& row) {
  const Shapes large = {{3, 13, 11, 19}}, bench = {{64, 32, 32, 64}};
  const PoolOptions overlapping{.kernel = 3, .stride = 2, .padding = 1};
  row("max_pool2d", {distinct({2, 5, 4, 2})}, [](const V& v) { return max_pool2d(v[0]); }).large(large).bench(bench);
  row("max_pool2d", {distinct({2, 5, 4, 2})}, [=](const V& v) { return max_pool2d(v[0], overlapping); })
      .variant("overlapping")
      .large(large)
      .bench(bench);
  row("avg_pool2d", {{{2, 5, 4, 2}}}, [=](const V& v) { return avg_pool2d(v[0], overlapping); })
      .large(large)
      .bench(bench)
      .summed([](const Shapes&) { return 9; });
  row("adaptive_avg_pool2d", {{{2, 2, 3, 2}}}, [](const V& v) {
    return adaptive_avg_pool2d(v[0], 5, 7);
  }).variant("more windows than pixels");
  row("adaptive_avg_pool2d", {{{2, 5, 7, 2}}}, [](const V& v) { return adaptive_avg_pool2d(v[0], 2, 3); })
      .large(large)
      .bench(bench);
  row("global_avg_pool", {{{2, 3, 4, 3}}}, [](const V& v) { return global_avg_pool(v[0]); }).large(large).bench(bench);
}

// New ones for every call: training writes them.
RunningStats fresh_statistics(const Variable& x) {
  const Device device = x.value().device();
  const DType dtype = wide_dtype(x.dtype());
  return {Tensor::zeros({x.size(-1)}, dtype, device), Tensor::ones({x.size(-1)}, dtype, device)};
}

// v is x, w, gamma, beta, and the residual if there is one.
void fused_convolutions(Rows& row) {
  const auto fused = [&row](const std::string& variant, const Conv2dOptions& o, const BatchSplit& split, bool relu,
                            bool residual) {
    const auto inputs = [&](const Shape& x, const Shape& w) {
      Shapes s = {x, w, {w[0]}, {w[0]}};
      if (residual) s.push_back(conv2d_geometry(x, w, o).second);
      return s;
    };
    std::vector<OpInput> small;
    for (const Shape& s : inputs({2, 5, 6, 3}, {4, 3, 3, 3})) small.push_back({s});
    small[2].low = 0.5, small[2].high = 2;
    row("conv_bn_act", small,
        [=](const V& v) {
          return conv_bn_act(v[0], v[1], o,
                             {.gamma = v[2],
                              .beta = v[3],
                              .running = fresh_statistics(v[3]),
                              .split = split,
                              .relu = relu,
                              .residual = residual ? v[4] : Variable()});
        })
        .variant(variant)
        .large(inputs({6, 17, 13, 20}, {33, 3, 3, 20}))
        .summed(conv_terms)
        .no_broadcast();
  };
  for (const auto& [name, algorithm] :
       {std::pair{"direct", ConvAlgorithm::Direct}, {"F(2)", ConvAlgorithm::F2}, {"F(4)", ConvAlgorithm::F4}}) {
    fused(name, {.padding = 1, .algorithm = algorithm}, {}, true, false);
    fused(std::string(name) + ", residual", {.padding = 0, .algorithm = algorithm}, {}, true, true);
  }
  fused("without relu", {.padding = 1}, {}, false, false);
  fused("groups", {.padding = 1}, {2, true}, true, false);
}

void norms(Rows& row) {
  const Shape small{4, 3, 2, 3}, odd{5, 7, 9, 35}, big{64, 32, 32, 64};
  const OpInput x{small}, gamma{{3}, 0.5, 2}, beta{{3}}, mean = constant({3}, -1, 1), var = constant({3}, 0.5, 2);
  const auto bn = [](const V& v) { return batch_norm(v[0], v[1], v[2], fresh_statistics(v[0]), true); };
  row("batch_norm", {x, gamma, beta}, bn)
      .variant("training")
      .large({odd, {35}, {35}})
      .bench({big, {64}, {64}})
      .summed(row_or_column);
  row("batch_norm", {{{6, 3}}}, [](const V& v) { return batch_norm(v[0], {}, {}, {}, true); })
      .variant("rows, no gain or bias")
      .large({{129, 35}})
      .summed(row_or_column)
      .no_broadcast();
  const auto eval = [](const V& v) { return batch_norm(v[0], v[1], v[2], {v[3].value(), v[4].value()}, false); };
  row("batch_norm", {x, gamma, beta, mean, var}, eval)
      .variant("evaluation")
      .large({odd, {35}, {35}, {35}, {35}})
      .summed(row_or_column);
  const Shape even{6, 7, 9, 35};  // two groups, as of the small shape
  for (const bool strided : {false, true})
    row("batch_norm", {x, gamma, beta},
        [strided](const V& v) {
          return batch_norm(v[0], v[1], v[2], fresh_statistics(v[0]), true, 1e-5, {2, strided});
        })
        .variant(strided ? "strided groups" : "groups")
        .large({even, {35}, {35}})
        .bench({big, {64}, {64}})
        .summed(row_or_column);
  row("batch_norm_relu", {x, gamma, beta, x},
      [](const V& v) {
        return batch_norm_relu(v[0], v[1], v[2], v[3], fresh_statistics(v[0]), true, 1e-5, {2, true});
      })
      .variant("residual, strided groups")
      .large({even, {35}, {35}, even})
      .bench({big, {64}, {64}, big})
      .summed(row_or_column);
  row("batch_norm_relu", {x, gamma, beta},
      [](const V& v) { return batch_norm_relu(v[0], v[1], v[2], {}, fresh_statistics(v[0]), true); })
      .large({odd, {35}, {35}})
      .bench({big, {64}, {64}})
      .summed(row_or_column);
  row("batch_norm_relu", {x, gamma, beta, x},
      [](const V& v) { return batch_norm_relu(v[0], v[1], v[2], v[3], fresh_statistics(v[0]), true); })
      .variant("residual")
      .large({odd, {35}, {35}, odd})
      .bench({big, {64}, {64}, big})
      .summed(row_or_column);
  row("batch_norm_relu", {x, gamma, beta, x, mean, var},
      [](const V& v) {
        return batch_norm_relu(v[0], v[1], v[2], v[3], {v[4].value(), v[5].value()}, false);
      })
      .variant("evaluation")
      .large({odd, {35}, {35}, odd, {35}, {35}})
      .summed(row_or_column);
  fused_convolutions(row);
  row("layer_norm", {{{3, 2, 3}}, gamma, beta}, [](const V& v) { return layer_norm(v[0], v[1], v[2]); })
      .large({{5, 13, 67}, {67}, {67}})
      .bench({{64, 197, 192}, {192}, {192}})
      .summed(row_or_column);
  row("layer_norm", {{{3, 5}}}, [](const V& v) { return layer_norm(v[0], {}, {}); })
      .variant("no gain or bias")
      .large({{65, 67}})
      .summed(row_or_column);
  row("l2_normalize", {{{4, 5}}}, [](const V& v) { return l2_normalize(v[0]); })
      .large({{65, 131}})
      .bench({{4096, 128}})
      .summed(row_or_column);
}

// Scores and gradients sum over sizes, tokens and keys.
int64_t attention_terms(const Shapes& s) { return std::max({s[0][2], s[0][3], s[1][2]}); }

void attentions(Rows& row) {
  const auto among = [](int64_t n, int64_t heads, int64_t queries, int64_t keys, int64_t size, int64_t values) {
    return Shapes{{n, heads, queries, size}, {n, heads, keys, size}, {n, heads, keys, values}};
  };
  const auto flops = [](const Shapes& s) {
    return 2.0 *
           static_cast<double>(s[0].numel() * s[1][2] + s[0].numel() / s[0][3] * s[2].numel() / s[2][0] / s[2][1]);
  };
  const auto inputs = [](const Shapes& s) { return std::vector<OpInput>{{s[0], -2, 2}, {s[1], -2, 2}, {s[2]}}; };
  const auto f = [](const V& v) { return attention(v[0], v[1], v[2]); };
  row("attention", inputs(among(2, 2, 3, 4, 3, 2)), f)
      .large(among(3, 2, 101, 67, 35, 19))
      .bench(among(64, 3, 197, 197, 64, 64))
      .flops(flops)
      .summed(attention_terms);
  // Several tiles of keys, several groups of queries, and sizes that no vector divides.
  row("attention", inputs(among(1, 1, 4, 5, 2, 3)), [](const V& v) { return attention(v[0], v[1], v[2], 0.7); })
      .variant("several tiles")
      .large(among(1, 2, 213, 611, 17, 33))
      .summed(attention_terms);
  row("attention", inputs(among(2, 1, 1, 1, 1, 1)), f)
      .variant("one token")
      .large(among(2, 3, 1, 300, 7, 5))
      .summed(attention_terms);
  row("self_attention", {{{2, 3, 12}, -2, 2}}, [](const V& v) { return self_attention(v[0], 2); })
      .large({{2, 77, 210}})
      .bench({{64, 197, 576}})
      .summed([](const Shapes& s) { return std::max(s[0][1], s[0][2] / 3); });
}

void losses(Rows& row) {
  const Shapes large = {{65, 131}}, bench = {{2048, 1024}};
  row("softmax", {{{3, 5}, -3, 3}}, [](const V& v) { return softmax(v[0]); })
      .large(large)
      .bench(bench)
      .summed(row_or_column);
  row("log_softmax", {{{3, 5}, -3, 3}}, [](const V& v) { return log_softmax(v[0]); })
      .large(large)
      .bench(bench)
      .summed(row_or_column);
  const OpInput logits{{5, 4}, -3, 3}, labels = index_into(1, {5});
  row("cross_entropy", {logits, labels}, [](const V& v) { return cross_entropy(v[0], v[1].value()); })
      .large({{65, 131}, {65}})
      .bench({{2048, 1024}, {2048}})
      .summed(row_or_column);
  row("cross_entropy", {logits, labels}, [](const V& v) { return cross_entropy(v[0], v[1].value(), 0.1); })
      .variant("smoothing")
      .large({{65, 131}, {65}})
      .summed(row_or_column);
  // The gradient of equal rows is a sum that cancels to nothing.
  row("nt_xent", {{{6, 3}}}, [](const V& v) { return nt_xent(v[0], 0.7); })
      .large({{150, 35}})
      .bench({{2048, 128}})
      .flops([](const Shapes& s) { return 2.0 * static_cast<double>(s[0].numel() * s[0][0]); })
      .summed(row_or_column)
      .no_broadcast();
  const auto against = [&](const Shape& q, const Shape& k) { return std::vector<OpInput>{{q}, constant(k, -1, 1)}; };
  row("info_nce", against({4, 3}, {5, 3}),
      [](const V& v) {
        std::vector<int64_t> labels;
        for (int64_t i = 0; i < v[0].size(0); ++i) labels.push_back(i * 7 % v[1].size(0));
        return info_nce(v[0], v[1].value(), {}, labels, 0.7);
      })
      .large({{67, 150}, {333, 150}})
      .summed(row_or_column)
      .no_broadcast();
  std::vector<OpInput> with_positive = against({4, 3}, {5, 3});
  with_positive.push_back(constant({4, 3}, -1, 1));
  row("info_nce", with_positive,
      [](const V& v) {
        std::vector<int64_t> labels(static_cast<size_t>(v[0].size(0)), 0);
        labels[1] = v[1].size(0);
        return info_nce(v[0], v[1].value(), v[2].value(), labels, 0.7);
      })
      .variant("queue")
      .large({{67, 35}, {333, 35}, {67, 35}})
      .bench({{256, 128}, {65536, 128}, {256, 128}})
      .flops([](const Shapes& s) { return 2.0 * static_cast<double>(s[0].numel() * s[1][0]); })
      .summed(row_or_column);
  row("drop_path", {{{9, 2, 3}}}, [](const V& v) { return drop_path(v[0], 0.3, 7, 11, 5); })
      .large({{65, 13, 10}})
      .bench({{64, 197, 192}});
  row("dropout", {{{5, 7}}}, [](const V& v) { return dropout(v[0], 0.3, 7, 11, 5); })
      .large({{65, 131}})
      .bench({{1 << 20}});
}

}  // namespace

const std::vector<OpRow>& op_table() {
  static const std::vector<OpRow> table = [] {
    Rows rows;
    elementwise(rows);
    arithmetic(rows);
    reductions(rows);
    products(rows);
    shapes(rows);
    convolutions(rows);
    pools(rows);
    norms(rows);
    attentions(rows);
    losses(rows);
    return rows.take();
  }();
  return table;
}

}  // namespace tacit::testing
