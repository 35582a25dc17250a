#include "backends/cpu/kernels/few_channels.h"

#include "backends/cpu/kernels/simd.h"

namespace tacit::cpu::TACIT_ISA {
namespace {

using V = Vec<float>;
constexpr int kLanes = Simd<float>::kLanes;

/// Calls f with the step as a constant: with it, the addresses of a tile's pixels need no registers of their own.
template <class F>
bool with_step(int64_t step, F&& f) {
  switch (step) {
    case 1:
      return f(Width<1>()), true;
    case 2:
      return f(Width<2>()), true;
    case 3:
      return f(Width<3>()), true;
    case 4:
      return f(Width<4>()), true;
    case 6:
      return f(Width<6>()), true;
    default:
      return false;
  }
}
bool has_step(int64_t step) {
  return with_step(step, [](auto) {});
}

/// M pixels by W vectors of filters, all sums in registers; the pixels beyond `pixels` are computed and dropped.
template <int Step, int M, int W>
void tile(const FewChannelsBand& b, const float* x, const float* w, float* y, int64_t filters, int64_t pixels) {
  V sum[M][W] = {};
  for (int64_t r = 0; r < b.kernel_rows; ++r, x += b.line)
    for (int64_t t = 0; t < b.taps; ++t, w += filters) {
      const float* at = x + t;
      __asm__("" : "+r"(at));  // or GCC keeps what pixels beside each other share in registers that the sums need
      V from[W];
      TACIT_UNROLL for (int j = 0; j < W; ++j) from[j] = load<V>(w + j * kLanes);
      TACIT_UNROLL for (int i = 0; i < M; ++i) {
        TACIT_UNROLL for (int j = 0; j < W; ++j) sum[i][j] += from[j] * at[i * Step];
      }
    }
  TACIT_UNROLL for (int i = 0; i < M; ++i) {
    if (i < pixels) {
      TACIT_UNROLL for (int j = 0; j < W; ++j) store(y + i * filters + j * kLanes, sum[i][j]);
    }
  }
}

void forward(const FewChannelsBand& b, float* y, const float* w, int64_t filters) {
  with_step(b.step, [&](auto step) {
    constexpr int S = decltype(step)::value;
    for (int64_t h = 0; h < b.rows; ++h)
      for (int64_t p = 0; p < b.pixels; p += kMr) {
        const float* const x = b.x + h * b.row_step + p * S;
        float* const to = y + (h * b.pixels + p) * filters;
        const int64_t left = b.pixels - p;
        with_tile_rows(left, [&](auto m) {
          constexpr int M = decltype(m)::value;
          int64_t f = 0;
          for (; f + 2 * kLanes <= filters; f += 2 * kLanes) tile<S, M, 2>(b, x, w + f, to + f, filters, left);
          if (f < filters) tile<S, M, 1>(b, x, w + f, to + f, filters, left);
        });
      }
  });
}

/// G taps of one kernel row by W vectors of filters.
template <int Step, int G, int W>
void tap_sums(const FewChannelsBand& b, const float* x, const float* dy, float* dw, int64_t filters) {
  V sum[G][W];
  TACIT_UNROLL for (int g = 0; g < G; ++g) {
    TACIT_UNROLL for (int j = 0; j < W; ++j) sum[g][j] = load<V>(dw + g * filters + j * kLanes);
  }
  for (int64_t h = 0; h < b.rows; ++h) {
    const float* at = x + h * b.row_step;
    for (int64_t p = 0; p < b.pixels; ++p, at += Step, dy += filters) {
      V d[W];
      TACIT_UNROLL for (int j = 0; j < W; ++j) d[j] = load<V>(dy + j * kLanes);
      TACIT_UNROLL for (int g = 0; g < G; ++g) { TACIT_UNROLL for (int j = 0; j < W; ++j) sum[g][j] += d[j] * at[g]; }
    }
  }
  TACIT_UNROLL for (int g = 0; g < G; ++g) {
    TACIT_UNROLL for (int j = 0; j < W; ++j) store(dw + g * filters + j * kLanes, sum[g][j]);
  }
}

template <int Step, int W>
void kernel_sums(const FewChannelsBand& b, const float* dy, float* dw, int64_t filters) {
  const float* x = b.x;
  for (int64_t r = 0; r < b.kernel_rows; ++r, x += b.line) {
    int64_t t = 0;
    const auto groups = [&](auto size) {
      constexpr int G = decltype(size)::value;
      for (; t + G <= b.taps; t += G, dw += G * filters) tap_sums<Step, G, W>(b, x + t, dy, dw, filters);
    };
    groups(Width<9>()), groups(Width<6>()), groups(Width<3>()), groups(Width<1>());
  }
}

void weights(const FewChannelsBand& b, const float* dy, float* dw, int64_t filters) {
  constexpr int W = kMr == 12 ? 2 : 1;  // nine sums of two vectors fit 32 registers, of one 16
  with_step(b.step, [&](auto step) {
    constexpr int S = decltype(step)::value;
    int64_t f = 0;
    for (; f + W * kLanes <= filters; f += W * kLanes) kernel_sums<S, W>(b, dy + f, dw + f, filters);
    if (f < filters) kernel_sums<S, 1>(b, dy + f, dw + f, filters);
  });
}

constexpr FewChannelsTable kTable = {kLanes, has_step, forward, weights};

}  // namespace

const FewChannelsTable& few_channels_table() { return kTable; }

}  // namespace tacit::cpu::TACIT_ISA
