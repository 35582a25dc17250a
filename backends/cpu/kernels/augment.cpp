#include "backends/cpu/kernels/augment.h"

#include "backends/cpu/kernels/simd.h"
#include "backends/cpu/kernels/widths.h"

namespace tacit::cpu::TACIT_ISA {
namespace {

inline float least(float a, float b) { return a < b ? a : b; }
inline float most(float a, float b) { return a > b ? a : b; }
inline float clamp01(float x) { return x < 0 ? 0.0f : (x > 1 ? 1.0f : x); }
inline float gray_of(float r, float g, float b) { return 0.299f * r + 0.587f * g + 0.114f * b; }

void weighted_sum(float* out, const float* const* rows, const float* weights, int64_t count, int64_t n) {
  constexpr int kLanes = Simd<float>::kLanes;
  int64_t i = 0;
  const auto vectors = [&](auto width) {
    constexpr int N = decltype(width)::value;
    for (; i + N * kLanes <= n; i += N * kLanes) {
      Vec<float> sum[N] = {};
      for (int64_t k = 0; k < count; ++k) {
        const float* const from = rows[k] + i;
        const float weight = weights[k];
        TACIT_UNROLL for (int j = 0; j < N; ++j) sum[j] += weight * load<Vec<float>>(from + j * kLanes);
      }
      TACIT_UNROLL for (int j = 0; j < N; ++j) store(out + i + j * kLanes, sum[j]);
    }
  };
  vectors(Width<8>());
  vectors(Width<1>());
  for (; i < n; ++i) {
    float sum = 0;
    for (int64_t k = 0; k < count; ++k) sum += weights[k] * rows[k][i];
    out[i] = sum;
  }
}

void scale(float* x, int64_t n, float factor, float shift) {
  for (int64_t i = 0; i < n; ++i) x[i] = clamp01(x[i] * factor + shift);
}

// Interleaved pixels as planes of a few at a time, where vectors run along pixels.
constexpr int kPixels = 64;
struct Planes {
  float r[kPixels], g[kPixels], b[kPixels];
};

template <int W>
inline void take_apart(const float* rgb, Planes& p) {
  for (int i = 0; i < W; ++i) p.r[i] = rgb[3 * i], p.g[i] = rgb[3 * i + 1], p.b[i] = rgb[3 * i + 2];
}
template <int W>
inline void put_together(const Planes& p, float* rgb) {
  for (int i = 0; i < W; ++i) rgb[3 * i] = p.r[i], rgb[3 * i + 1] = p.g[i], rgb[3 * i + 2] = p.b[i];
}

/// f(planes, Width) on all pixels; Write: what it leaves in the planes goes back.
template <bool Write, class T, class F>
inline void for_planes(T* rgb, int64_t pixels, F&& f) {
  for_widths<kPixels, 8>(pixels, [&](int64_t i, auto width) {
    constexpr int W = decltype(width)::value;
    Planes p;
    take_apart<W>(rgb + 3 * i, p);
    f(p, width);
    if constexpr (Write) put_together<W>(p, rgb + 3 * i);
  });
}

double gray_sum(const float* rgb, int64_t pixels) {
  double sum = 0;
  for_planes<false>(rgb, pixels, [&](const Planes& p, auto width) {
    float part = 0;
    for (int i = 0; i < decltype(width)::value; ++i) part += gray_of(p.r[i], p.g[i], p.b[i]);
    sum += static_cast<double>(part);
  });
  return sum;
}

void to_gray(float* rgb, int64_t pixels) {
  for_planes<true>(rgb, pixels, [](Planes& p, auto width) {
    for (int i = 0; i < decltype(width)::value; ++i) p.r[i] = p.g[i] = p.b[i] = gray_of(p.r[i], p.g[i], p.b[i]);
  });
}

void saturate(float* rgb, int64_t pixels, float factor) {
  for_planes<true>(rgb, pixels, [factor](Planes& p, auto width) {
    for (int i = 0; i < decltype(width)::value; ++i) {
      const float gray = gray_of(p.r[i], p.g[i], p.b[i]) * (1 - factor);
      p.r[i] = clamp01(p.r[i] * factor + gray);
      p.g[i] = clamp01(p.g[i] * factor + gray);
      p.b[i] = clamp01(p.b[i] * factor + gray);
    }
  });
}

// One channel of a pixel of hue h, in sixths of the circle 0 … 6, `offset` sixths on.
inline float channel(float h, float offset, float high, float range) {
  float k = h + offset;
  k = k >= 6 ? k - 6 : k;
  return high - range * clamp01(least(k, 4 - k));
}

void turn_hue(float* rgb, int64_t pixels, float turn) {
  for_planes<true>(rgb, pixels, [turn](Planes& p, auto width) {
    for (int i = 0; i < decltype(width)::value; ++i) {
      const float r = p.r[i], g = p.g[i], b = p.b[i];
      const float high = most(r, most(g, b)), low = least(r, least(g, b)), range = high - low;
      const float inverse = range > 0 ? 1 / range : 0.0f;
      const float of_b = 4 + (r - g) * inverse, of_g = 2 + (b - r) * inverse, of_r = (g - b) * inverse;
      float h = (high == r ? of_r : high == g ? of_g : of_b) * (1.0f / 6) + turn;
      h = h < 0 ? h + 1 : h;
      h = (h >= 1 ? h - 1 : h) * 6;
      p.r[i] = channel(h, 5, high, range);
      p.g[i] = channel(h, 3, high, range);
      p.b[i] = channel(h, 1, high, range);
    }
  });
}

void normalise(float* x, int64_t pixels, int64_t channels, const float* mean, const float* scale) {
  constexpr int kPattern = 48;  // a multiple of 1, 3 and of every vector
  float means[kPattern], scales[kPattern];
  for (int i = 0; i < kPattern; ++i) means[i] = mean[i % channels], scales[i] = scale[i % channels];
  const int64_t n = pixels * channels;
  int64_t i = 0;
  for (; i + kPattern <= n; i += kPattern)
    for (int j = 0; j < kPattern; ++j) x[i + j] = (x[i + j] - means[j]) * scales[j];
  for (int j = 0; i < n; ++i, ++j) x[i] = (x[i] - means[j]) * scales[j];
}

constexpr AugmentTable kTable = {weighted_sum, scale, gray_sum, to_gray, saturate, turn_hue, normalise};

}  // namespace

const AugmentTable& augment_table() { return kTable; }

}  // namespace tacit::cpu::TACIT_ISA
