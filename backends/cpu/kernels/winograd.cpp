#include "backends/cpu/kernels/winograd.h"

#include <type_traits>

#include "backends/cpu/kernels/simd.h"
#include "backends/cpu/kernels/winograd_tile.h"

namespace tacit::cpu::TACIT_ISA {
namespace {

using V = Vec<float>;
constexpr int kLanes = Simd<float>::kLanes;
constexpr int64_t kBlock = kWinogradBlock;

// ---- transforms: one vector of channels at a time

/// The first n elements of a vector; the others are 0. n may be 0 or less.
inline V load_some(const float* p, int64_t n) {
  alignas(kVectorBytes) float some[kLanes] = {};
  for (int64_t i = 0; i < n; ++i) some[i] = p[i];
  return load<V>(some);
}
inline V load_upto(const float* p, int64_t n) { return n >= kLanes ? load<V>(p) : load_some(p, n); }
inline void store_upto(float* p, const V& v, int64_t n) {
  if (n >= kLanes) return store(p, v);
  alignas(kVectorBytes) float some[kLanes];
  store(some, v);
  for (int64_t i = 0; i < n; ++i) p[i] = some[i];
}

/// Where a tile lies: its first pixel, and which of its rows and columns are inside the map.
struct Place {
  int64_t offset;  ///< of pixel (0, 0) of the tile, in elements from the map's begin; maybe outside of it
  int64_t row0, row1, column0, column1;
};
/// Tiles in order, without a division each.
class Walk {
 public:
  Walk(const TileMap& map, int64_t first, int64_t step, int64_t size)
      : map_(map),
        step_(step),
        size_(size),
        column_(first % map.tiles_w),
        row_(first / map.tiles_w % map.tiles_h),
        image_(first / (map.tiles_w * map.tiles_h)) {}
  Place next() {
    const int64_t h = map_.top + row_ * step_, w = map_.left + column_ * step_;
    const Place place = {((image_ * map_.height + h) * map_.width + w) * map_.channels, inside(-h),
                         upto(map_.height - h), inside(-w), upto(map_.width - w)};
    if (++column_ == map_.tiles_w) {
      column_ = 0;
      if (++row_ == map_.tiles_h) row_ = 0, ++image_;
    }
    return place;
  }

 private:
  int64_t inside(int64_t n) const { return n > 0 ? n : 0; }
  int64_t upto(int64_t n) const { return n < size_ ? n : size_; }
  const TileMap& map_;
  int64_t step_, size_, column_, row_, image_;
};

/// One tile of S x S pixels; every pixel outside the map is 0.
template <int S>
inline void load_tile(V (&tile)[S * S], const float* map, const TileMap& m, const Place& place, int64_t channel) {
  const int64_t left = m.channels - channel;
  const float* const from = map + place.offset + channel;
  const bool whole = place.row0 == 0 && place.row1 == S && place.column0 == 0 && place.column1 == S && left >= kLanes;
  if (whole) {
    TACIT_UNROLL for (int i = 0; i < S; ++i) TACIT_UNROLL for (int j = 0; j < S; ++j) tile[i * S + j] =
        load<V>(from + (i * m.width + j) * m.channels);
    return;
  }
  for (int i = 0; i < S; ++i)
    for (int j = 0; j < S; ++j) {
      const bool inside = i >= place.row0 && i < place.row1 && j >= place.column0 && j < place.column1;
      tile[i * S + j] = inside ? load_upto(from + (i * m.width + j) * m.channels, left) : V{};
    }
}

/// Transforms S x S to R x R by `step`, S to R values in one direction.
template <int S, int R, class Step>
inline void transform(const V* x, V* y, Step&& step) {
  V half[S * R];
  TACIT_UNROLL for (int i = 0; i < S; ++i) step(x + i * S, 1, half + i * R, 1);
  TACIT_UNROLL for (int j = 0; j < R; ++j) step(half + j, R, y + j, R);
}

/// Tiles of S x S pixels, `out` apart, through `step` into the buffer.
template <class F, int S, class Step>
inline void into_buffer(const TileBuffer& to, const float* map, const TileMap& m, int64_t first, int64_t count,
                        Step&& step) {
  for (int64_t c = 0; c < (m.channels + kBlock - 1) / kBlock * kBlock; c += kLanes) {
    float* p = to.data + c / kBlock * to.block + c % kBlock;
    Walk walk(m, first, F::kOut, S);
    for (int64_t t = 0; t < count; ++t, p += kBlock) {
      V tile[S * S], y[F::kIn * F::kIn];
      load_tile<S>(tile, map, m, walk.next(), c);
      transform<S, F::kIn>(tile, y, step);
      TACIT_UNROLL for (int f = 0; f < F::kIn * F::kIn; ++f) store(p + f * to.frequency, y[f]);
    }
  }
}

template <class F>
void input(const TileBuffer& to, const float* map, const TileMap& m, int64_t first, int64_t count) {
  into_buffer<F, F::kIn>(to, map, m, first, count, [](const V* x, int s, V* y, int t) { F::input(x, s, y, t); });
}

template <class F>
void output_gradient(const TileBuffer& to, const float* map, const TileMap& m, int64_t first, int64_t count) {
  into_buffer<F, F::kOut>(to, map, m, first, count,
                          [](const V* x, int s, V* y, int t) { F::output_gradient(x, s, y, t); });
}

/// The moments of tiles while they are in registers. A tile's own come from two passes, tiles merge by Chan's formula
/// (tacit::cpu::merge_moments): a large mean costs no digits.
template <int R>
struct RunningMoments {
  V mean{}, squares{};
  float pixels = 0;

  void add(const V (&y)[R * R], int64_t rows, int64_t columns) {
    V sum{}, own{};
    const auto each = [&](auto&& f) {
      if (rows == R && columns == R) {
        TACIT_UNROLL for (int i = 0; i < R * R; ++i) f(y[i]);
        return;
      }
      for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < columns; ++j) f(y[i * R + j]);
    };
    const auto count = static_cast<float>(rows * columns), weight = count / (pixels + count);
    each([&](const V& v) { sum += v; });
    const V centre = sum * (1 / count);
    each([&](const V& v) { own += (v - centre) * (v - centre); });
    const V delta = centre - mean;
    squares += own + delta * delta * (pixels * weight);
    mean += delta * weight;
    pixels += count;
  }
};

template <class F>
void output(float* map, const TileMap& m, const TileBuffer& from, int64_t first, int64_t count, int64_t channel,
            int64_t channels, const TileMoments& moments) {
  constexpr int S = F::kIn, R = F::kOut;
  for (int64_t c = 0; c < channels; c += kLanes) {
    const float* p = from.data + c / kBlock * from.block + c % kBlock;
    Walk walk(m, first, R, R);
    RunningMoments<R> seen;
    for (int64_t t = 0; t < count; ++t, p += kBlock) {
      V x[S * S], y[R * R];
      TACIT_UNROLL for (int f = 0; f < S * S; ++f) x[f] = load<V>(p + f * from.frequency);
      transform<S, R>(x, y, [](const V* a, int s, V* b, int u) { F::output(a, s, b, u); });
      const Place place = walk.next();
      if (moments.mean) {
        seen.add(y, place.row1, place.column1);
        if ((t + 1) % moments.group == 0 || t + 1 == count) {
          const int64_t at = t / moments.group * moments.stride + c;
          store_upto(moments.mean + at, seen.mean, channels - c);
          store_upto(moments.squares + at, seen.squares, channels - c);
          seen = {};
        }
      }
      float* const to = map + place.offset + channel + c;
      if (place.row1 == R && place.column1 == R && channels - c >= kLanes) {
        TACIT_UNROLL for (int i = 0; i < R; ++i) TACIT_UNROLL for (int j = 0; j < R; ++j)
            store(to + (i * m.width + j) * m.channels, y[i * R + j]);
        continue;
      }
      for (int64_t i = 0; i < place.row1; ++i)
        for (int64_t j = 0; j < place.column1; ++j)
          store_upto(to + (i * m.width + j) * m.channels, y[i * R + j], channels - c);
    }
  }
}

template <class F>
void weights(float* to, int64_t frequency, int64_t row, const float* w, int64_t w_row, int64_t w_tap, int64_t rows,
             int64_t columns, bool rotate) {
  for (int64_t i = 0; i < rows; ++i, w += w_row, to += row)
    for (int64_t c = 0; c < columns; c += kLanes) {
      V g[9], u[F::kIn * F::kIn];
      for (int tap = 0; tap < 9; ++tap) g[rotate ? 8 - tap : tap] = load_upto(w + tap * w_tap + c, columns - c);
      transform<3, F::kIn>(g, u, [](const V* a, int s, V* b, int t) { F::weights(a, s, b, t); });
      TACIT_UNROLL for (int f = 0; f < F::kIn * F::kIn; ++f) store(to + f * frequency + c, u[f]);
    }
}

template <class F>
void weights_gradient(float* dw, const float* du, int64_t frequency, int64_t row, int64_t filters, int64_t channels) {
  for (int64_t i = 0; i < filters; ++i, dw += 9 * channels, du += row)
    for (int64_t c = 0; c < channels; c += kLanes) {
      V u[F::kIn * F::kIn], g[9];
      TACIT_UNROLL for (int f = 0; f < F::kIn * F::kIn; ++f) u[f] = load<V>(du + f * frequency + c);
      transform<F::kIn, 3>(u, g, [](const V* a, int s, V* b, int t) { F::weights_gradient(a, s, b, t); });
      for (int tap = 0; tap < 9; ++tap) store_upto(dw + tap * channels + c, g[tap], channels - c);
    }
}

// ---- products

// M tiles by N vectors of columns, summed over the channels.
template <int M, int N>
inline void product_tile(const WinogradProduct& p, const float* v, const float* u, float* m0, float* m1) {
  V sum[M][N] = {};
  const auto step = [&](int64_t k) {
    V b[N];
    TACIT_UNROLL for (int j = 0; j < N; ++j) b[j] = load<V>(u + j * kLanes);
    TACIT_UNROLL for (int i = 0; i < M; ++i) {
      TACIT_UNROLL for (int j = 0; j < N; ++j) sum[i][j] += b[j] * v[i * kBlock + k];
    }
    u += 2 * kLanes;
  };
  int64_t left = p.depth;
  for (; left >= kBlock; left -= kBlock, v += p.v_block) {
    for (int64_t k = 0; k < kBlock; ++k) step(k);
  }
  for (int64_t k = 0; k < left; ++k) step(k);
  TACIT_UNROLL for (int i = 0; i < M; ++i) {
    store(m0 + i * kBlock, sum[i][0]);
    if constexpr (N > 1) store(m1 + i * kBlock, sum[i][1]);
  }
}

template <int N>
void product_panel(const WinogradProduct& p, const float* u, float* m0, float* m1) {
  const float* v = p.v;
  int64_t left = p.tiles;
  const auto by = [&]<int M>(std::integral_constant<int, M>) {
    for (; left >= M; left -= M, v += M * kBlock, m0 += M * kBlock, m1 += M * kBlock)
      product_tile<M, N>(p, v, u, m0, m1);
  };
  by(std::integral_constant<int, kMr>());
  by(std::integral_constant<int, kMr * 2 / 3>());
  by(std::integral_constant<int, kMr / 3>());
  by(std::integral_constant<int, 1>());
}

void product(const WinogradProduct& p) {
  constexpr int64_t nr = 2 * kLanes;
  const auto at = [&](int64_t column) { return p.m + column / kBlock * p.m_block + column % kBlock; };
  for (int64_t column = 0; column < p.columns; column += nr) {
    const float* const u = p.u + column * p.depth;
    if (p.columns - column > kLanes)
      product_panel<2>(p, u, at(column), at(column + kLanes));
    else
      product_panel<1>(p, u, at(column), nullptr);
  }
}

// M filters by N vectors of channels, summed over the tiles.
template <int M, int N>
inline void sum_tile(const WinogradSum& p, const float* d, const float* v0, const float* v1, float* du) {
  V sum[M][N];
  TACIT_UNROLL for (int i = 0; i < M; ++i) {
    TACIT_UNROLL for (int j = 0; j < N; ++j) sum[i][j] = p.accumulate ? load<V>(du + i * p.columns + j * kLanes) : V{};
  }
  for (int64_t t = 0; t < p.tiles; ++t, d += kBlock, v0 += kBlock, v1 += kBlock) {
    V b[N];
    b[0] = load<V>(v0);
    if constexpr (N > 1) b[1] = load<V>(v1);
    TACIT_UNROLL for (int i = 0; i < M; ++i) { TACIT_UNROLL for (int j = 0; j < N; ++j) sum[i][j] += b[j] * d[i]; }
  }
  TACIT_UNROLL for (int i = 0; i < M; ++i) {
    TACIT_UNROLL for (int j = 0; j < N; ++j) store(du + i * p.columns + j * kLanes, sum[i][j]);
  }
}

template <int N>
inline void sum_block(const WinogradSum& p, const float* d, const float* v0, const float* v1, float* du) {
  // 16 rows: twice 8 where the registers hold them, else 6 + 6 + 4.
  constexpr int M = kMr > 8 ? 8 : 6;
  TACIT_UNROLL for (int i = 0; i + M <= kBlock; i += M) sum_tile<M, N>(p, d + i, v0, v1, du + i * p.columns);
  constexpr int rest = kBlock % M;
  if constexpr (rest > 0) {
    constexpr int i = kBlock - rest;
    sum_tile<rest, N>(p, d + i, v0, v1, du + i * p.columns);
  }
}

void sum(const WinogradSum& p) {
  const auto at = [&](int64_t column) { return p.v + column / kBlock * p.v_block + column % kBlock; };
  for (int64_t column = 0; column < p.columns; column += 2 * kLanes) {
    const float* d = p.d;
    for (int64_t row = 0; row < p.rows; row += kBlock, d += p.d_block) {
      float* const du = p.du + row * p.columns + column;
      if (p.columns - column > kLanes)
        sum_block<2>(p, d, at(column), at(column + kLanes), du);
      else
        sum_block<1>(p, d, at(column), at(column), du);
    }
  }
}

template <class F>
constexpr WinogradTable table() {
  return {F::kOut, F::kIn, input<F>, output_gradient<F>, output<F>, weights<F>, weights_gradient<F>};
}
constexpr WinogradTables kTables = {table<F4>(), table<F2>(), Simd<float>::kNr, product, sum};

}  // namespace

const WinogradTables& winograd_tables() { return kTables; }

}  // namespace tacit::cpu::TACIT_ISA
