#include "backends/cpu/depthwise.h"

#include <algorithm>
#include <type_traits>
#include <vector>

#include "backends/cpu/kernels/depthwise.h"
#include "backends/cpu/memory.h"
#include "backends/cpu/parallel.h"

namespace tacit::cpu {
namespace {

template <class T>
void sum_products(T* to, const std::vector<const T*>& a, const std::vector<const T*>& b, int64_t channels,
                  bool accumulate) {
  const DepthwiseTable& table = depthwise_table();
  const int64_t count = static_cast<int64_t>(a.size());
  if constexpr (std::is_same_v<T, float>)
    table.f32(to, a.data(), b.data(), count, channels, accumulate);
  else
    table.f64(to, a.data(), b.data(), count, channels, accumulate);
}

/// w (C, taps) as (taps, C), so that the channels of a tap lie together.
template <class T>
void taps_first(const ConvGeometry& g, T* to, const T* w) {
  for (int64_t c = 0; c < g.channels; ++c)
    for (int64_t t = 0; t < g.taps(); ++t) to[t * g.channels + c] = w[c * g.taps() + t];
}

/// The output that input i meets at tap t, or -1.
int64_t output_of(int64_t i, int64_t t, int64_t outputs, int64_t stride, int64_t padding, int64_t dilation) {
  const int64_t scaled = i + padding - t * dilation;
  return scaled >= 0 && scaled % stride == 0 && scaled / stride < outputs ? scaled / stride : -1;
}

}  // namespace

template <class T>
void depthwise(const ConvGeometry& g, T* y, const T* x, const T* w) {
  const Window& k = g.window;
  const Scratch weights(g.taps() * g.channels * sizeof(T));
  taps_first(g, weights.as<T>(), w);
  parallel_pieces(g.images * g.out_height, [&](int64_t line) {
    const int64_t n = line / g.out_height, oh = line % g.out_height;
    std::vector<const T*> a, b;
    for (int64_t ow = 0; ow < g.out_width; ++ow) {
      a.clear(), b.clear();
      for (int64_t t = 0; t < g.taps(); ++t) {
        const int64_t h = oh * k.stride_h - k.padding_h + t / k.kernel_w * k.dilation_h;
        const int64_t v = ow * k.stride_w - k.padding_w + t % k.kernel_w * k.dilation_w;
        if (h < 0 || h >= g.height || v < 0 || v >= g.width) continue;
        a.push_back(x + ((n * g.height + h) * g.width + v) * g.channels);
        b.push_back(weights.as<T>() + t * g.channels);
      }
      sum_products(y + (line * g.out_width + ow) * g.channels, a, b, g.channels, false);
    }
  });
}

template <class T>
void depthwise_dx(const ConvGeometry& g, T* dx, const T* dy, const T* w) {
  const Window& k = g.window;
  const Scratch weights(g.taps() * g.channels * sizeof(T));
  taps_first(g, weights.as<T>(), w);
  parallel_pieces(g.images * g.height, [&](int64_t line) {
    const int64_t n = line / g.height, h = line % g.height;
    std::vector<const T*> a, b;
    for (int64_t v = 0; v < g.width; ++v) {
      a.clear(), b.clear();
      for (int64_t t = 0; t < g.taps(); ++t) {
        const int64_t oh = output_of(h, t / k.kernel_w, g.out_height, k.stride_h, k.padding_h, k.dilation_h);
        const int64_t ow = output_of(v, t % k.kernel_w, g.out_width, k.stride_w, k.padding_w, k.dilation_w);
        if (oh < 0 || ow < 0) continue;
        a.push_back(dy + ((n * g.out_height + oh) * g.out_width + ow) * g.channels);
        b.push_back(weights.as<T>() + t * g.channels);
      }
      sum_products(dx + (line * g.width + v) * g.channels, a, b, g.channels, false);
    }
  });
}

template <class T>
void depthwise_dw(const ConvGeometry& g, T* dw, const T* x, const T* dy) {
  const Window& k = g.window;
  const int64_t size = g.taps() * g.channels, lines = g.images * g.out_height;
  const int64_t pieces = std::min<int64_t>(lines, 32);
  const Scratch partial(pieces * size * sizeof(T));
  parallel_pieces(pieces, [&](int64_t piece) {
    T* const sum = partial.as<T>() + piece * size;
    std::fill_n(sum, size, T(0));
    std::vector<const T*> a, b;
    for (int64_t line = lines * piece / pieces; line < lines * (piece + 1) / pieces; ++line) {
      const int64_t n = line / g.out_height, oh = line % g.out_height;
      for (int64_t t = 0; t < g.taps(); ++t) {
        const int64_t h = oh * k.stride_h - k.padding_h + t / k.kernel_w * k.dilation_h;
        if (h < 0 || h >= g.height) continue;
        a.clear(), b.clear();
        for (int64_t ow = 0; ow < g.out_width; ++ow) {
          const int64_t v = ow * k.stride_w - k.padding_w + t % k.kernel_w * k.dilation_w;
          if (v < 0 || v >= g.width) continue;
          a.push_back(x + ((n * g.height + h) * g.width + v) * g.channels);
          b.push_back(dy + (line * g.out_width + ow) * g.channels);
        }
        sum_products(sum + t * g.channels, a, b, g.channels, true);
      }
    }
  });
  for (int64_t c = 0; c < g.channels; ++c) {
    for (int64_t t = 0; t < g.taps(); ++t) {
      T sum = 0;
      for (int64_t piece = 0; piece < pieces; ++piece) sum += partial.as<T>()[piece * size + t * g.channels + c];
      dw[c * g.taps() + t] = sum;
    }
  }
}

template void depthwise(const ConvGeometry&, float*, const float*, const float*);
template void depthwise(const ConvGeometry&, double*, const double*, const double*);
template void depthwise_dx(const ConvGeometry&, float*, const float*, const float*);
template void depthwise_dx(const ConvGeometry&, double*, const double*, const double*);
template void depthwise_dw(const ConvGeometry&, float*, const float*, const float*);
template void depthwise_dw(const ConvGeometry&, double*, const double*, const double*);

}  // namespace tacit::cpu
