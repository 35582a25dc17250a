#include "backends/cpu/kernels/augment.h"

#include "backends/cpu/kernels/simd.h"
#include "backends/cpu/kernels/widths.h"
#include "tensor/augment_math.h"

namespace tacit::cpu::TACIT_ISA {
namespace {

using namespace augment;

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
  for (int64_t i = 0; i < n; ++i) x[i] = scaled(x[i], factor, shift);
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
      p.r[i] = scaled(p.r[i], factor, gray);
      p.g[i] = scaled(p.g[i], factor, gray);
      p.b[i] = scaled(p.b[i], factor, gray);
    }
  });
}

void turn_hue(float* rgb, int64_t pixels, float turn) {
  for_planes<true>(rgb, pixels, [turn](Planes& p, auto width) {
    for (int i = 0; i < decltype(width)::value; ++i) {
      const Rgb to = turned(p.r[i], p.g[i], p.b[i], turn);
      p.r[i] = to.r, p.g[i] = to.g, p.b[i] = to.b;
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
