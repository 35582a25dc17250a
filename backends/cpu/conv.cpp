// Convolution and its gradient with respect to the input, as implicit matrix products.
//
// A row of the product is one output pixel, its columns the output channels, the summed index the taps times the input
// channels. No im2col: the kernel gathers pieces of image rows (kernels/gemm.h). Output pixels are sorted into classes
// that see the same taps, so taps that fall into the padding (or, for dx with a stride, between the pixels of y) are
// never multiplied.
#include <numeric>
#include <utility>

#include "backends/cpu/backend.h"
#include "backends/cpu/conv_geometry.h"
#include "backends/cpu/depthwise.h"
#include "backends/cpu/few_channels.h"
#include "backends/cpu/gemm_blocks.h"
#include "backends/cpu/memory.h"
#include "backends/cpu/parallel.h"
#include "backends/cpu/winograd.h"

namespace tacit::cpu {
namespace {

/// Along one axis: `count` outputs from `out` on, out_step apart, that see taps tap, tap + tap_step, …; the input of
/// output i and tap t is in + i * in_step + t * in_tap_step.
struct AxisClass {
  int64_t out, out_step, count;
  int64_t tap, tap_step, taps;
  int64_t in, in_step, in_tap_step;
};

struct Axis {
  int64_t in, out, kernel, stride, padding, dilation;
};

// y: input = output * stride - padding + tap * dilation.
std::vector<AxisClass> forward_classes(const Axis& a) {
  std::vector<AxisClass> classes;
  for (int64_t o = 0; o < a.out; ++o) {
    const int64_t start = o * a.stride - a.padding;
    const int64_t first = start < 0 ? std::min(a.kernel, ceil_div(-start, a.dilation)) : 0;
    const int64_t end = start < a.in ? std::min(a.kernel, ceil_div(a.in - start, a.dilation)) : 0;
    const int64_t taps = std::max<int64_t>(0, end - first);
    if (!classes.empty() && classes.back().tap == first && classes.back().taps == taps)
      ++classes.back().count;
    else
      classes.push_back({o, 1, 1, first, 1, taps, start + first * a.dilation, a.stride, a.dilation});
  }
  return classes;
}

// dx: the roles of input and output are swapped, input = (output + padding - tap * dilation) / stride where that is
// whole. Outputs `stride` apart see the same taps, those where the division leaves no rest.
std::vector<AxisClass> backward_classes(const Axis& a) {
  std::vector<AxisClass> classes;
  const int64_t common = std::gcd(a.stride, a.dilation);
  const int64_t tap_step = a.stride / common, in_tap_step = -a.dilation / common;
  for (int64_t residue = 0; residue < std::min(a.stride, a.out); ++residue) {
    int64_t tap0 = 0;
    while (tap0 < tap_step && (residue + a.padding - tap0 * a.dilation) % a.stride != 0) ++tap0;
    const int64_t all = tap0 < tap_step && tap0 < a.kernel ? ceil_div(a.kernel - tap0, tap_step) : 0;
    const size_t begin = classes.size();
    for (int64_t o = residue; o < a.out; o += a.stride) {
      // Only exact when some tap fits, which is when `all` is not 0.
      const int64_t in0 = (o + a.padding - tap0 * a.dilation) / a.stride;
      int64_t first = 0, end = all;
      while (first < end && in0 + first * in_tap_step >= a.in) ++first;
      while (end > first && in0 + (end - 1) * in_tap_step < 0) --end;
      const int64_t tap = tap0 + first * tap_step, taps = end - first;
      if (classes.size() > begin && classes.back().taps == taps && (taps == 0 || classes.back().tap == tap))
        ++classes.back().count;
      else
        classes.push_back({o, a.stride, 1, tap, tap_step, taps, in0 + first * in_tap_step, 1, in_tap_step});
    }
  }
  return classes;
}

/// What the kernel sums for one class, cut into steps of at most kGemmDepth.
struct DepthStep {
  std::vector<GemmPiece> pieces;
  std::vector<GemmRun> runs;
  int64_t depth = 0;
};

/// Both convolutions: y from x, or dx from dy.
template <class T>
struct Gather {
  const T* in;
  T* out;
  int64_t images, in_height, in_width, in_channels, out_height, out_width, out_channels;
  int64_t groups, group_in, group_out;  ///< channels of a group
  int64_t kernel_h, kernel_w;
  std::vector<AxisClass> rows, columns;

  std::vector<DepthStep> depth_steps(const AxisClass& h, const AxisClass& w) const;
};

template <class T>
std::vector<DepthStep> Gather<T>::depth_steps(const AxisClass& h, const AxisClass& w) const {
  const int64_t step = depth_step(h.taps * w.taps * group_in);
  std::vector<DepthStep> steps;
  for (int64_t i = 0; i < h.taps; ++i) {
    for (int64_t j = 0; j < w.taps; ++j) {
      int64_t from = (i * h.in_tap_step * in_width + j * w.in_tap_step) * in_channels;
      int64_t row = ((h.tap + i * h.tap_step) * kernel_w + w.tap + j * w.tap_step) * group_in;
      for (int64_t left = group_in; left > 0;) {
        if (steps.empty() || steps.back().depth == step) steps.emplace_back();
        DepthStep& s = steps.back();
        const int64_t length = std::min(left, step - s.depth);
        if (!s.pieces.empty() && s.pieces.back().offset + s.pieces.back().length == from)
          s.pieces.back().length += length;
        else
          s.pieces.push_back({from, length});
        if (!s.runs.empty() && s.runs.back().b + s.runs.back().length == row)
          s.runs.back().length += length;
        else
          s.runs.push_back({s.depth, row, length});
        s.depth += length, from += length, row += length, left -= length;
      }
    }
  }
  return steps;
}

/// A class of output pixels, and one task's share of it.
struct PixelClass {
  AxisClass h, w;
  std::vector<DepthStep> steps;
  int64_t pixels;
};
struct Task {
  const PixelClass* pixels;
  int64_t first, count;  ///< of the class's pixels in the order image, row, column
};

template <class T>
void gather_block(const Gather<T>& g, const Task& task, int64_t group, const T* packed, int64_t panel_size,
                  int64_t column, int64_t columns) {
  const PixelClass& c = *task.pixels;
  const T* from[kBlockRows];
  T* to[kBlockRows];
  int64_t j = task.first % c.w.count, i = task.first / c.w.count % c.h.count, n = task.first / (c.w.count * c.h.count);
  for (int64_t p = 0; p < task.count; ++p) {
    // A class without taps has no input; the address is then never read, but must not be made up either.
    from[p] = c.steps.empty()
                  ? g.in
                  : g.in +
                        ((n * g.in_height + c.h.in + i * c.h.in_step) * g.in_width + c.w.in + j * c.w.in_step) *
                            g.in_channels +
                        group * g.group_in;
    to[p] =
        g.out +
        ((n * g.out_height + c.h.out + i * c.h.out_step) * g.out_width + c.w.out + j * c.w.out_step) * g.out_channels +
        group * g.group_out;
    if (++j == c.w.count) {
      j = 0;
      if (++i == c.h.count) i = 0, ++n;
    }
  }
  if (c.steps.empty()) {
    for (int64_t p = 0; p < task.count; ++p) std::fill_n(to[p] + column, columns, T(0));
    return;
  }
  auto panels = make_panels(packed + column / gemm_table<T>().nr * panel_size, panel_size, column, columns, nullptr, 0);
  for (const DepthStep& s : c.steps) {
    for (auto& panel : panels) panel.runs = s.runs.data(), panel.run_count = static_cast<int64_t>(s.runs.size());
    gemm_table<T>().by_rows({from, task.count, s.depth, s.pieces.data(), static_cast<int64_t>(s.pieces.size()), to,
                             panels.data(), static_cast<int64_t>(panels.size()), &s != &c.steps.front(), nullptr});
  }
}

/// out = gather(in) B, where pack(panel, group, first row of B, rows, first column, columns) writes a part of B, the
/// rows being (tap, channel), into zeros.
template <class T, class Pack>
void gather_product(const Gather<T>& g, Pack&& pack) {
  const GemmTable<T>& gemm = gemm_table<T>();
  const int64_t depth = g.kernel_h * g.kernel_w * g.group_in;
  const int64_t panels = ceil_div(g.group_out, gemm.nr), panel_size = depth * gemm.nr;
  const int64_t steps = ceil_div(depth, kGemmDepth);
  const Scratch packed(g.groups * panels * panel_size * sizeof(T));
  parallel_pieces(g.groups * panels * steps, [&](int64_t t) {
    const int64_t row = t % steps * kGemmDepth, panel = t / steps % panels, group = t / steps / panels;
    const int64_t rows = std::min(kGemmDepth, depth - row), columns = std::min(gemm.nr, g.group_out - panel * gemm.nr);
    T* const to = packed.as<T>() + (group * panels + panel) * panel_size + row * gemm.nr;
    if (columns < gemm.nr) std::fill_n(to, rows * gemm.nr, T(0));
    pack(to, group, row, rows, panel * gemm.nr, columns);
  });

  std::vector<PixelClass> classes;
  for (const AxisClass& h : g.rows)
    for (const AxisClass& w : g.columns) classes.push_back({h, w, g.depth_steps(h, w), g.images * h.count * w.count});

  const BlockSize size = choose_block(g.images * g.out_height * g.out_width, g.group_out, depth, gemm.mr, gemm.nr,
                                      ceil_div(enough_blocks(), g.groups), threads());
  std::vector<Task> tasks;
  for (const PixelClass& c : classes) {
    // About equal parts, so that no tile is left almost empty.
    const int64_t parts = ceil_div(c.pixels, size.rows),
                  rows = std::min(size.rows, round_up(ceil_div(c.pixels, parts), gemm.mr));
    for (int64_t p = 0; p < c.pixels; p += rows) tasks.push_back({&c, p, std::min(rows, c.pixels - p)});
  }
  // Classes of the same images follow each other, while those images are in the cache.
  std::stable_sort(tasks.begin(), tasks.end(), [](const Task& a, const Task& b) {
    return a.first * b.pixels->pixels < b.first * a.pixels->pixels;
  });

  const int64_t across = ceil_div(g.group_out, size.columns), count = static_cast<int64_t>(tasks.size());
  parallel_pieces(g.groups * count * across, [&](int64_t t) {
    const int64_t column = t % across * size.columns, group = t / across % g.groups;
    gather_block(g, tasks[t / across / g.groups], group, packed.as<T>() + group * panels * panel_size, panel_size,
                 column, std::min(size.columns, g.group_out - column));
  });
}

template <class T>
void forward(const ConvGeometry& g, T* y, const T* x, const T* w) {
  const Window& k = g.window;
  const Gather<T> gather{x,
                         y,
                         g.images,
                         g.height,
                         g.width,
                         g.channels,
                         g.out_height,
                         g.out_width,
                         g.filters,
                         g.groups,
                         g.group_channels,
                         g.group_filters,
                         k.kernel_h,
                         k.kernel_w,
                         forward_classes({g.height, g.out_height, k.kernel_h, k.stride_h, k.padding_h, k.dilation_h}),
                         forward_classes({g.width, g.out_width, k.kernel_w, k.stride_w, k.padding_w, k.dilation_w})};
  gather_product(gather, [&](T* to, int64_t group, int64_t row, int64_t rows, int64_t column, int64_t columns) {
    gemm_table<T>().pack_transposed(to, w + (group * g.group_filters + column) * g.filter_size() + row, g.filter_size(),
                                    rows, columns);
  });
}

template <class T>
void backward(const ConvGeometry& g, T* dx, const T* dy, const T* w) {
  const Window& k = g.window;
  const Gather<T> gather{dy,
                         dx,
                         g.images,
                         g.out_height,
                         g.out_width,
                         g.filters,
                         g.height,
                         g.width,
                         g.channels,
                         g.groups,
                         g.group_filters,
                         g.group_channels,
                         k.kernel_h,
                         k.kernel_w,
                         backward_classes({g.out_height, g.height, k.kernel_h, k.stride_h, k.padding_h, k.dilation_h}),
                         backward_classes({g.out_width, g.width, k.kernel_w, k.stride_w, k.padding_w, k.dilation_w})};
  gather_product(gather, [&](T* to, int64_t group, int64_t row, int64_t rows, int64_t column, int64_t columns) {
    const T* from[kGemmDepth];
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t tap = (row + i) / g.group_filters, filter = group * g.group_filters + (row + i) % g.group_filters;
      from[i] = w + filter * g.filter_size() + tap * g.group_channels + column;
    }
    gemm_table<T>().pack(to, from, rows, columns);
  });
}

/// A dense view of pixels and channels, or w of a 1x1 convolution, as a matrix.
View matrix(const View& v, int64_t rows) {
  const int64_t columns = v.numel() / rows;
  return {v.data, v.dtype, {rows, columns}, {columns, 1}};
}

View transposed(View matrix) {
  std::swap(matrix.shape[0], matrix.shape[1]);
  std::swap(matrix.strides[0], matrix.strides[1]);
  return matrix;
}

}  // namespace

void CpuBackend::conv2d(const View& y, const View& x, const View& w, const Window& window) {
  const ConvGeometry g = conv_geometry(x, w, y, window);
  if (y.numel() == 0) return;
  visit_floating("conv2d", y.dtype, [&](auto zero) {
    using T = decltype(zero);
    if (is_depthwise(g)) return depthwise(g, y.ptr<T>(), x.ptr<T>(), w.ptr<T>());
    if (g.pointwise()) {
      const int64_t pixels = g.images * g.height * g.width;
      return matmul(matrix(y, pixels), matrix(x, pixels), transposed(matrix(w, g.filters)));
    }
    if constexpr (std::is_same_v<T, float>) {
      const ConvAlgorithm algorithm = choose_algorithm(g);
      if (algorithm != ConvAlgorithm::Direct) return winograd(algorithm, g, y.ptr<T>(), x.ptr<T>(), w.ptr<T>());
      if (is_few_channels(g)) return few_channels(g, y.ptr<T>(), x.ptr<T>(), w.ptr<T>());
    }
    forward(g, y.ptr<T>(), x.ptr<T>(), w.ptr<T>());
  });
}

void CpuBackend::conv2d_moments(const View& y, const View& mean, const View& var, const View& x, const View& w,
                                const Window& window) {
  const ConvGeometry g = conv_geometry(x, w, y, window);
  const ConvAlgorithm algorithm = y.dtype == f32 ? choose_algorithm(g) : ConvAlgorithm::Direct;
  if (algorithm == ConvAlgorithm::Direct) return Backend::conv2d_moments(y, mean, var, x, w, window);
  winograd(algorithm, g, y.ptr<float>(), x.ptr<float>(), w.ptr<float>(), mean.ptr<float>(), var.ptr<float>());
}

void CpuBackend::conv2d_dx(const View& dx, const View& dy, const View& w, const Window& window) {
  const ConvGeometry g = conv_geometry(dx, w, dy, window);
  if (dx.numel() == 0) return;
  visit_floating("conv2d_dx", dx.dtype, [&](auto zero) {
    using T = decltype(zero);
    if (is_depthwise(g)) return depthwise_dx(g, dx.ptr<T>(), dy.ptr<T>(), w.ptr<T>());
    if (g.pointwise()) {
      const int64_t pixels = g.images * g.height * g.width;
      return matmul(matrix(dx, pixels), matrix(dy, pixels), matrix(w, g.filters));
    }
    if constexpr (std::is_same_v<T, float>) {
      const ConvAlgorithm algorithm = choose_algorithm(g);
      if (algorithm != ConvAlgorithm::Direct) return winograd_dx(algorithm, g, dx.ptr<T>(), dy.ptr<T>(), w.ptr<T>());
      if (is_few_channels(g)) return few_channels_dx(g, dx.ptr<T>(), dy.ptr<T>(), w.ptr<T>());
    }
    backward(g, dx.ptr<T>(), dy.ptr<T>(), w.ptr<T>());
  });
}

}  // namespace tacit::cpu
