// The gradient of a convolution with respect to its weights, as implicit matrix products.
//
// dw (filters x taps*channels) = dy^T (filters x pixels) times the patches of x (pixels x taps*channels). The pixels
// are cut into pieces whose number depends on the shape alone; every piece sums into its own copy of dw, and the copies
// are added in order. A piece walks over blocks of at most kGemmDepth output pixels; where a panel of columns belongs
// to one tap, pixels for which that tap lies in the padding are left out.
#include "backends/cpu/backend.h"
#include "backends/cpu/conv_geometry.h"
#include "backends/cpu/depthwise.h"
#include "backends/cpu/gemm_blocks.h"
#include "backends/cpu/memory.h"
#include "backends/cpu/parallel.h"

namespace tacit::cpu {
namespace {

/// Output pixels [h0, h1) x [w0, w1) of images [n0, n1), in the order row, column, image: the pixels that see a tap are
/// then few long runs.
struct PixelBlock {
  int64_t n0, n1, h0, h1, w0, w1;
  int64_t count() const { return (n1 - n0) * (h1 - h0) * (w1 - w0); }
};

std::vector<PixelBlock> pixel_blocks(const ConvGeometry& g) {
  const int64_t width = std::min(g.out_width, kGemmDepth);
  const int64_t height = std::min(g.out_height, kGemmDepth / width);
  // Several images only when a whole one fits.
  const bool whole = width == g.out_width && height == g.out_height;
  const int64_t images = whole ? kGemmDepth / (width * height) : 1;
  std::vector<PixelBlock> blocks;
  for (int64_t n = 0; n < g.images; n += images)
    for (int64_t h = 0; h < g.out_height; h += height)
      for (int64_t w = 0; w < g.out_width; w += width)
        blocks.push_back({n, std::min(n + images, g.images), h, std::min(h + height, g.out_height), w,
                          std::min(w + width, g.out_width)});
  return blocks;
}

/// The outputs in [begin, end) whose input o * stride + shift exists.
struct Span {
  int64_t begin, end;
};
Span visible(int64_t begin, int64_t end, int64_t stride, int64_t shift, int64_t inputs) {
  const int64_t low = shift < 0 ? ceil_div(-shift, stride) : 0;
  const int64_t high = shift < inputs ? ceil_div(inputs - shift, stride) : 0;
  const int64_t b = std::max(begin, low);
  return {b, std::max(b, std::min(end, high))};
}

/// Reads x as one tap sees it.
template <class T>
struct Patches {
  const ConvGeometry& g;
  const T* x;

  Span rows(const PixelBlock& b, int64_t tap) const {
    return visible(b.h0, b.h1, g.window.stride_h, shift_h(tap), g.height);
  }
  Span columns(const PixelBlock& b, int64_t tap) const {
    return visible(b.w0, b.w1, g.window.stride_w, shift_w(tap), g.width);
  }
  int64_t shift_h(int64_t tap) const { return tap / g.window.kernel_w * g.window.dilation_h - g.window.padding_h; }
  int64_t shift_w(int64_t tap) const { return tap % g.window.kernel_w * g.window.dilation_w - g.window.padding_w; }

  /// Pointers to the inputs of the pixels that see the tap, in the block's order, and where they lie in that order.
  int64_t pointers(const PixelBlock& b, int64_t tap, const T** out, std::vector<GemmRun>& runs) const {
    const Span h = rows(b, tap), w = columns(b, tap);
    const int64_t images = b.n1 - b.n0, image_size = g.height * g.width * g.channels;
    int64_t count = 0;
    runs.clear();
    for (int64_t oh = h.begin; oh < h.end && w.begin < w.end; ++oh) {
      const int64_t from = ((oh - b.h0) * (b.w1 - b.w0) + w.begin - b.w0) * images, length = (w.end - w.begin) * images;
      if (!runs.empty() && runs.back().a + runs.back().length == from)
        runs.back().length += length;
      else
        runs.push_back({from, count, length});
      for (int64_t ow = w.begin; ow < w.end; ++ow) {
        const T* p = x + ((b.n0 * g.height + oh * g.window.stride_h + shift_h(tap)) * g.width + ow * g.window.stride_w +
                          shift_w(tap)) *
                             g.channels;
        for (int64_t n = 0; n < images; ++n, p += image_size) out[count++] = p;
      }
    }
    return count;
  }
};

/// One task: adds up blocks [first, end) for columns [column, column + columns) of one group's dw into sum.
template <class T>
struct WeightSum {
  const ConvGeometry& g;
  const T* x;
  const T* dy;
  const std::vector<PixelBlock>& blocks;

  void run(T* sum, int64_t group, int64_t column, int64_t columns, int64_t first, int64_t end) const;
};

template <class T>
void WeightSum<T>::run(T* sum, int64_t group, int64_t column, int64_t columns, int64_t first, int64_t end) const {
  const GemmTable<T>& gemm = gemm_table<T>();
  const int64_t depth_c = g.group_channels, width = g.filter_size(), panel_size = kGemmDepth * gemm.nr;
  const Patches<T> patches{g, x + group * depth_c};
  const Scratch gather(kGemmScratch * sizeof(T)), packed(ceil_div(columns, gemm.nr) * panel_size * sizeof(T));
  auto panels = make_panels<T>(packed.as<T>(), panel_size, column, columns, nullptr, 0);
  const int64_t tap0 = column / depth_c, tap1 = ceil_div(column + columns, depth_c);
  std::vector<std::vector<GemmRun>> runs(tap1 - tap0);
  std::vector<T*> rows(g.group_filters);
  for (int64_t i = 0; i < g.group_filters; ++i) rows[i] = sum + i * width;

  const T *from[kGemmDepth], *pixels[kGemmDepth];
  for (int64_t n = first; n < end; ++n) {
    const PixelBlock& b = blocks[n];
    int64_t depth = 0;
    for (int64_t h = b.h0; h < b.h1; ++h)
      for (int64_t w = b.w0; w < b.w1; ++w)
        for (int64_t i = b.n0; i < b.n1; ++i)
          from[depth++] = dy + ((i * g.out_height + h) * g.out_width + w) * g.filters + group * g.group_filters;
    const GemmRun all{0, 0, depth};

    for (int64_t tap = tap0; tap < tap1; ++tap) {
      auto& tap_runs = runs[tap - tap0];
      const int64_t count = patches.pointers(b, tap, pixels, tap_runs);
      // The panels that hold a part of this tap.
      const int64_t begin = std::max(column, tap * depth_c), stop = std::min(column + columns, (tap + 1) * depth_c);
      int64_t shifted = 0;
      for (int64_t p = (begin - column) / gemm.nr; p < ceil_div(stop - column, gemm.nr); ++p) {
        GemmPanel<T>& panel = panels[p];
        const int64_t left = std::max(begin, panel.column), right = std::min(stop, panel.column + panel.columns);
        const bool one_tap = left == panel.column && right == panel.column + panel.columns;
        T* const to = const_cast<T*>(panel.b);
        if (left == panel.column && (!one_tap || panel.columns < gemm.nr)) std::fill_n(to, depth * gemm.nr, T(0));
        const int64_t shift = left - tap * depth_c - shifted;
        for (int64_t i = 0; i < count; ++i) pixels[i] += shift;
        shifted += shift;
        if (one_tap) {
          gemm.pack(to, pixels, count, panel.columns);
          panel.runs = tap_runs.data(), panel.run_count = static_cast<int64_t>(tap_runs.size());
        } else {
          for (const GemmRun& run : tap_runs)
            gemm.pack(to + run.a * gemm.nr + left - panel.column, pixels + run.b, run.length, right - left);
          panel.runs = &all, panel.run_count = 1;
        }
      }
    }
    gemm.by_columns({from, g.group_filters, depth, nullptr, 0, rows.data(), panels.data(),
                     static_cast<int64_t>(panels.size()), n > first, gather.as<T>()});
  }
}

template <class T>
void weight_gradient(const ConvGeometry& g, T* dw, const T* x, const T* dy) {
  const int64_t nr = gemm_table<T>().nr, width = g.filter_size(), size = g.filters * width;
  const std::vector<PixelBlock> blocks = pixel_blocks(g);
  const int64_t block_count = static_cast<int64_t>(blocks.size());
  // Copies of dw cost memory traffic, narrow tasks gather dy again: small weights take many pieces, large ones few.
  const int64_t pixels = g.images * g.out_height * g.out_width;
  const int64_t pieces = std::clamp<int64_t>(std::min(pixels / 2048, (1 << 21) / size), 1, kEnoughBlocks);
  const int64_t across = std::max(ceil_div(width, kBlockColumns), ceil_div(kEnoughBlocks / 2, pieces * g.groups));
  const int64_t columns = round_up(ceil_div(width, across), nr), ranges = ceil_div(width, columns);

  const Scratch partial(pieces > 1 ? pieces * size * sizeof(T) : 0);
  T* const sums = pieces > 1 ? partial.as<T>() : dw;
  const WeightSum<T> task{g, x, dy, blocks};
  parallel_pieces(pieces * g.groups * ranges, [&](int64_t t) {
    const int64_t column = t % ranges * columns, group = t / ranges % g.groups, piece = t / ranges / g.groups;
    task.run(sums + piece * size + group * g.group_filters * width, group, column, std::min(columns, width - column),
             block_count * piece / pieces, block_count * (piece + 1) / pieces);
  });
  if (pieces == 1) return;
  parallel_ranges(size, 8192, [&](int64_t begin, int64_t end) {
    std::copy(sums + begin, sums + end, dw + begin);
    for (int64_t piece = 1; piece < pieces; ++piece)
      for (int64_t i = begin; i < end; ++i) dw[i] += sums[piece * size + i];
  });
}

}  // namespace

void CpuBackend::conv2d_dw(const View& dw, const View& x, const View& dy, const Window& window) {
  const ConvGeometry g = conv_geometry(x, dw, dy, window);
  if (dw.numel() == 0) return;
  visit_floating("conv2d_dw", dw.dtype, [&](auto zero) {
    using T = decltype(zero);
    if (dy.numel() == 0)
      std::fill_n(dw.ptr<T>(), dw.numel(), T(0));
    else if (is_depthwise(g))
      depthwise_dw(g, dw.ptr<T>(), x.ptr<T>(), dy.ptr<T>());
    else
      weight_gradient(g, dw.ptr<T>(), x.ptr<T>(), dy.ptr<T>());
  });
}

}  // namespace tacit::cpu
