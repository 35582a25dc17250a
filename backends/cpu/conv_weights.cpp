// The gradient of a convolution with respect to its weights, as implicit matrix products.
//
// dw (filters x taps*channels) = dy^T (filters x pixels) times the patches of x (pixels x taps*channels). The pixels
// are cut into pieces whose number depends on the shape alone; every piece sums into its own copy of dw, and the copies
// are added in order. A piece walks over blocks of at most kGemmDepth output pixels; where a panel of columns belongs
// to one tap, pixels for which that tap lies in the padding are left out.
#include <cstring>

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

/// One task: adds up blocks [first, end) for columns [column, column + columns) of one group's dw into sum.
template <class T>
class WeightSum {
 public:
  WeightSum(const ConvGeometry& g, const T* x, const T* dy, int64_t group, int64_t column, int64_t columns)
      : g_(g),
        x_(x + group * g.group_channels),
        dy_(dy + group * g.group_filters),
        column_(column),
        columns_(columns) {}

  void run(T* sum, const PixelBlock* first, const PixelBlock* end);

 private:
  int64_t shift_h(int64_t tap) const { return tap / g_.window.kernel_w * g_.window.dilation_h - g_.window.padding_h; }
  int64_t shift_w(int64_t tap) const { return tap % g_.window.kernel_w * g_.window.dilation_w - g_.window.padding_w; }

  int64_t tap_pixels(const PixelBlock&, int64_t tap, const T** pixels, std::vector<GemmRun>& runs) const;
  void pack_taps(const PixelBlock&, T* packed);
  void pack_patches(const PixelBlock&, T* packed, T* patches);
  void write_patches(const PixelBlock&, T* patches) const;

  const ConvGeometry& g_;
  const T* x_;
  const T* dy_;
  int64_t column_, columns_;
  std::vector<GemmPanel<T>> panels_;
  std::vector<std::vector<GemmRun>> runs_;  ///< of every tap, or of all pixels
};

// Pointers to the inputs of the pixels that see the tap, in the block's order, and where they lie in that order.
template <class T>
int64_t WeightSum<T>::tap_pixels(const PixelBlock& b, int64_t tap, const T** pixels, std::vector<GemmRun>& runs) const {
  const Window& k = g_.window;
  const Span h = visible(b.h0, b.h1, k.stride_h, shift_h(tap), g_.height);
  const Span w = visible(b.w0, b.w1, k.stride_w, shift_w(tap), g_.width);
  const int64_t images = b.n1 - b.n0, image_size = g_.height * g_.width * g_.channels,
                length = (w.end - w.begin) * images;
  int64_t count = 0;
  runs.clear();
  for (int64_t oh = h.begin; oh < h.end && length > 0; ++oh) {
    const int64_t from = ((oh - b.h0) * (b.w1 - b.w0) + w.begin - b.w0) * images;
    if (!runs.empty() && runs.back().a + runs.back().length == from)
      runs.back().length += length;
    else
      runs.push_back({from, count, length});
    const int64_t row = b.n0 * g_.height + oh * k.stride_h + shift_h(tap);
    for (int64_t ow = w.begin; ow < w.end; ++ow) {
      const T* p = x_ + (row * g_.width + ow * k.stride_w + shift_w(tap)) * g_.channels;
      for (int64_t n = 0; n < images; ++n, p += image_size) pixels[count++] = p;
    }
  }
  return count;
}

template <class T>
void WeightSum<T>::pack_taps(const PixelBlock& b, T* packed) {
  const GemmTable<T>& gemm = gemm_table<T>();
  const int64_t channels = g_.group_channels, tap0 = column_ / channels;
  const T* pixels[kGemmDepth];
  int64_t known = -1, count = 0, channel = 0;
  runs_.resize(ceil_div(column_ + columns_, channels) - tap0);
  for (size_t p = 0; p < panels_.size(); ++p) {
    const int64_t tap = panels_[p].column / channels, wanted = panels_[p].column % channels;
    auto& runs = runs_[tap - tap0];
    if (tap != known) known = tap, channel = 0, count = tap_pixels(b, tap, pixels, runs);
    for (int64_t i = 0; i < count; ++i) pixels[i] += wanted - channel;
    channel = wanted;
    gemm.pack(packed + static_cast<int64_t>(p) * kGemmDepth * gemm.nr, pixels, count, panels_[p].columns);
    panels_[p].runs = runs.data(), panels_[p].run_count = static_cast<int64_t>(runs.size());
  }
}

// std::copy costs more than the few elements that are typical here.
template <class T>
inline void copy_short(T* to, const T* from, int64_t n) {
  for (; n >= 4; n -= 4, to += 4, from += 4) std::memcpy(to, from, 4 * sizeof(T));
  if (n & 2) std::memcpy(to, from, 2 * sizeof(T)), to += 2, from += 2;
  if (n & 1) *to = *from;
}

// Row i of `patches`: the columns of this task in the patch of the block's pixel i, zeros where it lies in the padding.
template <class T>
void WeightSum<T>::write_patches(const PixelBlock& b, T* patches) const {
  const Window& k = g_.window;
  // Taps next to each other in a kernel row are so in memory, unless dilation or other groups lie between them.
  const int64_t joined = k.dilation_w == 1 && g_.groups == 1 ? k.kernel_w : 1, size = joined * g_.group_channels;
  const int64_t image_size = g_.height * g_.width * g_.channels;
  for (int64_t unit = column_ / size; unit * size < column_ + columns_; ++unit) {
    const int64_t begin = std::max(column_ - unit * size, int64_t{0});
    const int64_t end = std::min(column_ + columns_ - unit * size, size);
    const int64_t up = shift_h(unit * joined), left = shift_w(unit * joined);
    T* to = patches + unit * size + begin - column_;
    for (int64_t oh = b.h0; oh < b.h1; ++oh) {
      const int64_t ih = oh * k.stride_h + up;
      const bool inside = ih >= 0 && ih < g_.height;
      for (int64_t ow = b.w0; ow < b.w1; ++ow) {
        const int64_t iw = ow * k.stride_w + left;
        const int64_t low = inside ? std::clamp(-iw * g_.group_channels, begin, end) : end;
        const int64_t high = inside ? std::clamp((g_.width - iw) * g_.group_channels, low, end) : end;
        const T* from = x_ + ((b.n0 * g_.height + ih) * g_.width + iw) * g_.channels + begin;
        for (int64_t n = b.n0; n < b.n1; ++n, to += columns_, from += image_size) {
          if (low == begin && high == end) {
            copy_short(to, from, end - begin);
            continue;
          }
          std::fill_n(to, low - begin, T(0));
          std::copy(from + low - begin, from + high - begin, to + low - begin);
          std::fill_n(to + high - begin, end - high, T(0));
        }
      }
    }
  }
}

template <class T>
void WeightSum<T>::pack_patches(const PixelBlock& b, T* packed, T* patches) {
  const GemmTable<T>& gemm = gemm_table<T>();
  const int64_t count = b.count();
  const T* rows[kGemmDepth];
  for (int64_t i = 0; i < count; ++i) rows[i] = patches + i * columns_;
  write_patches(b, patches);
  runs_.assign(1, {{0, 0, count}});
  for (auto& panel : panels_) {
    gemm.pack(packed, rows, count, panel.columns);
    for (int64_t i = 0; i < count; ++i) rows[i] += panel.columns;
    packed += kGemmDepth * gemm.nr;
    panel.runs = runs_[0].data(), panel.run_count = 1;
  }
}

template <class T>
void WeightSum<T>::run(T* sum, const PixelBlock* first, const PixelBlock* end) {
  const GemmTable<T>& gemm = gemm_table<T>();
  const bool one_tap = g_.group_channels % gemm.nr == 0;
  const int64_t panel_size = kGemmDepth * gemm.nr, packed_size = ceil_div(columns_, gemm.nr) * panel_size;
  const Scratch gather(kGemmScratch * sizeof(T)), packed(packed_size * sizeof(T));
  const Scratch patches(one_tap ? 0 : kGemmDepth * columns_ * sizeof(T));
  // Unused columns of the last panel are never written: they must hold numbers, whatever these are.
  if (!one_tap) std::fill_n(packed.as<T>() + packed_size - panel_size, panel_size, T(0));
  panels_ = make_panels<T>(packed.as<T>(), panel_size, column_, columns_, nullptr, 0);
  std::vector<T*> rows(g_.group_filters);
  for (int64_t i = 0; i < g_.group_filters; ++i) rows[i] = sum + i * g_.filter_size();

  const T* from[2][kGemmDepth];  // of this block, and of the next
  const auto pixels_of = [&](const PixelBlock& b, const T** pixels) {
    for (int64_t h = b.h0; h < b.h1; ++h)
      for (int64_t w = b.w0; w < b.w1; ++w)
        for (int64_t n = b.n0; n < b.n1; ++n)
          *pixels++ = dy_ + ((n * g_.out_height + h) * g_.out_width + w) * g_.filters;
    return b.count();
  };
  int64_t depth = pixels_of(*first, from[0]), next_depth = 0;
  for (const PixelBlock* b = first; b != end; ++b, depth = next_depth) {
    const T** const here = from[(b - first) % 2];
    const T** const next = from[(b - first + 1) % 2];
    next_depth = b + 1 != end ? pixels_of(b[1], next) : 0;
    if (one_tap)
      pack_taps(*b, packed.as<T>());
    else
      pack_patches(*b, packed.as<T>(), patches.as<T>());
    gemm.by_columns({here, g_.group_filters, depth, nullptr, 0, rows.data(), panels_.data(),
                     static_cast<int64_t>(panels_.size()), b != first, gather.as<T>(), nullptr, nullptr, next,
                     next_depth});
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
  const int64_t across = std::max(ceil_div(width, kBlockColumns), ceil_div(enough_blocks() / 2, pieces * g.groups));
  const int64_t columns = round_up(ceil_div(width, across), nr), ranges = ceil_div(width, columns);

  const Scratch partial(pieces > 1 ? pieces * size * sizeof(T) : 0);
  T* const sums = pieces > 1 ? partial.as<T>() : dw;
  parallel_pieces(pieces * g.groups * ranges, [&](int64_t t) {
    const int64_t column = t % ranges * columns, group = t / ranges % g.groups, piece = t / ranges / g.groups;
    WeightSum<T>(g, x, dy, group, column, std::min(columns, width - column))
        .run(sums + piece * size + group * g.group_filters * width, blocks.data() + block_count * piece / pieces,
             blocks.data() + block_count * (piece + 1) / pieces);
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
    if (dy.numel() == 0) {
      std::fill_n(dw.ptr<T>(), dw.numel(), T(0));
      return;
    }
    if (is_depthwise(g)) return depthwise_dw(g, dw.ptr<T>(), x.ptr<T>(), dy.ptr<T>());
    if constexpr (std::is_same_v<T, float>) {
      const ConvAlgorithm algorithm = choose_algorithm(g);
      if (algorithm != ConvAlgorithm::Direct) return winograd_dw(algorithm, g, dw.ptr<T>(), x.ptr<T>(), dy.ptr<T>());
      if (is_few_channels(g)) return few_channels_dw(g, dw.ptr<T>(), x.ptr<T>(), dy.ptr<T>());
    }
    weight_gradient(g, dw.ptr<T>(), x.ptr<T>(), dy.ptr<T>());
  });
}

}  // namespace tacit::cpu
