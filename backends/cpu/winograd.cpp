// How Winograd's convolution is cut into tasks. y and dx: a task transforms a block of tiles, multiplies them by all
// filters and transforms back, all in its core's cache. dw: blocks of tiles are transformed, then every frequency's
// product adds them up; the two phases share the outer cache.
#include "backends/cpu/winograd.h"

#include <cstdlib>
#include <string_view>

#include "backends/cpu/backend.h"
#include "backends/cpu/cache.h"
#include "backends/cpu/gemm_blocks.h"
#include "backends/cpu/kernels/winograd.h"
#include "backends/cpu/memory.h"
#include "backends/cpu/moments.h"
#include "backends/cpu/parallel.h"

namespace tacit::cpu {
namespace {

const WinogradTable& table_of(ConvAlgorithm algorithm) {
  return algorithm == ConvAlgorithm::F2 ? winograd_tables().f2 : winograd_tables().f4;
}

/// A buffer of `tiles` transformed tiles in scratch memory. 16 elements more than a power of two between frequencies:
/// the sets of the cache are used evenly.
struct Tiles {
  Tiles(const WinogradTable& k, int64_t tiles, int64_t channels)
      : Tiles(tiles, k.in * k.in, tiles * round_up(channels, kWidestPanel) + 16) {}
  static constexpr int64_t kWidestPanel = 32;
  Scratch memory;
  TileBuffer buffer;

 private:
  Tiles(int64_t tiles, int64_t frequencies, int64_t frequency)
      : memory(static_cast<size_t>(frequencies * frequency) * sizeof(float)),
        buffer{memory.as<float>(), frequency, tiles * kWinogradBlock} {}
};

/// Transformed filters in panels: `rows` summed channels by `columns` output channels.
struct Filters {
  Filters(const WinogradTable& k, int64_t rows, int64_t columns)
      : rows(rows),
        columns(columns),
        frequency(round_up(columns, winograd_tables().nr) * rows),
        memory(static_cast<size_t>(k.in * k.in * frequency) * sizeof(float)) {}
  int64_t rows, columns, frequency;
  Scratch memory;
};

/// Fills the panels from w(row, tap, column): transform(to, first row, rows, first column, columns) writes a part.
template <class Transform>
void fill_panels(const WinogradTable& k, const Filters& u, Transform&& transform) {
  constexpr int64_t kRows = 16;
  const int64_t nr = winograd_tables().nr, parts = ceil_div(u.rows, kRows);
  parallel_pieces(ceil_div(u.columns, nr) * parts, [&](int64_t t) {
    const int64_t column = t / parts * nr, row = t % parts * kRows;
    const int64_t columns = std::min(nr, u.columns - column), rows = std::min(kRows, u.rows - row);
    float* const to = u.memory.as<float>() + column * u.rows + row * nr;
    if (columns < nr)
      for (int64_t f = 0; f < k.in * k.in; ++f) std::fill_n(to + f * u.frequency, rows * nr, 0.0f);
    transform(to, row, rows, column, columns);
  });
}

/// y = conv(x): the forward pass, and dx with the roles of the channels swapped.
struct TiledProduct {
  const float* in;
  float* out;
  int64_t images;
  TileMap in_map, out_map;

  int64_t tiles() const { return images * in_map.tiles_h * in_map.tiles_w; }
  /// Pixels of the output in the tiles before one.
  int64_t pixels_before(const WinogradTable& k, int64_t tile) const {
    const TileMap& m = out_map;
    const int64_t column = tile % m.tiles_w * k.out, row = tile / m.tiles_w % m.tiles_h * k.out;
    return (tile / (m.tiles_w * m.tiles_h) * m.height + row) * m.width +
           std::min(k.out, m.height - row) * std::min(column, m.width);
  }
};

TiledProduct tiled_product(const WinogradTable& k, const float* in, float* out, int64_t images,
                           const int64_t (&in_size)[3], const int64_t (&out_size)[3], int64_t padding_h,
                           int64_t padding_w) {
  const int64_t tiles_h = ceil_div(out_size[0], k.out), tiles_w = ceil_div(out_size[1], k.out);
  return {in,
          out,
          images,
          {in_size[0], in_size[1], in_size[2], tiles_h, tiles_w, -padding_h, -padding_w},
          {out_size[0], out_size[1], out_size[2], tiles_h, tiles_w, 0, 0}};
}

/// Tiles that the products take at least at a time: tasks are multiples of it.
int64_t tiles_a_step() { return gemm_table<float>().mr / 3; }

/// How many tiles a task takes: enough that reading the filters costs little, not more than the second-level cache
/// holds, and about equal parts.
int64_t tiles_a_task(const WinogradTable& k, const TiledProduct& g) {
  const int64_t mr = gemm_table<float>().mr, tiles = g.tiles();
  const int64_t bytes = k.in * k.in * g.in_map.channels * static_cast<int64_t>(sizeof(float));
  int64_t most = 4 * mr;
  while (most > 2 * mr && most * bytes > second_level_cache()) most -= mr;
  return round_up(ceil_div(tiles, ceil_div(tiles, most)), tiles_a_step());
}

/// out = tiles(in) u. Where the moments of its channels are wanted, each task sums up its pixels while it holds them,
/// in groups of tiles that divide every task, so that the order of the sums does not depend on how tasks are cut.
void run_tiles(const WinogradTable& k, const TiledProduct& g, const Filters& u, float* mean = nullptr,
               float* var = nullptr) {
  constexpr int64_t kColumns = 128;  // of products that stay in the cache until they are transformed back
  const int64_t tiles = g.tiles(), step = tiles_a_task(k, g), blocks = ceil_div(tiles, step);
  // Where tiles are few for the threads, the output channels are tasks too, each of which transforms the tiles again.
  // No sum depends on it: each stays within one task.
  const int64_t groups = ceil_div(u.columns, kColumns);
  const int64_t shares = std::clamp(ceil_div(int64_t{2} * threads(), blocks), int64_t{1}, groups);
  const int64_t channels = g.out_map.channels, group_tiles = tiles_a_step(), parts = ceil_div(tiles, group_tiles);
  const int64_t sums = mean ? parts * channels : 0;
  const Scratch part_moments(static_cast<size_t>(2 * sums) * sizeof(float));
  parallel_pieces(blocks * shares, [&](int64_t t) {
    const int64_t first = t / shares * step, count = std::min(step, tiles - first), share = t % shares;
    const Tiles v(k, step, u.rows), m(k, step, std::min(u.columns, kColumns));
    k.input(v.buffer, g.in, g.in_map, first, count);
    for (int64_t group = groups * share / shares; group < groups * (share + 1) / shares; ++group) {
      const int64_t column = group * kColumns, width = std::min(kColumns, u.columns - column);
      for (int64_t f = 0; f < k.in * k.in; ++f)
        winograd_tables().product({v.buffer.data + f * v.buffer.frequency, v.buffer.block,
                                   u.memory.as<float>() + f * u.frequency + column * u.rows,
                                   m.buffer.data + f * m.buffer.frequency, m.buffer.block, count, u.rows, width});
      float* const part = sums > 0 ? part_moments.as<float>() + first / group_tiles * channels + column : nullptr;
      k.output(g.out, g.out_map, m.buffer, first, count, column, width,
               {part, part ? part + sums : nullptr, group_tiles, channels});
    }
  });
  if (sums > 0)
    merge_moments(
        mean, var, channels, parts, part_moments.as<float>(), part_moments.as<float>() + sums, [&](int64_t part) {
          return g.pixels_before(k, std::min(tiles, (part + 1) * group_tiles)) - g.pixels_before(k, part * group_tiles);
        });
}

}  // namespace

void winograd(ConvAlgorithm algorithm, const ConvGeometry& g, float* y, const float* x, const float* w, float* mean,
              float* var) {
  const WinogradTable& k = table_of(algorithm);
  const Filters u(k, g.channels, g.filters);
  // Filters lie along their channels and panels across them: turned before the transform, which makes more of them.
  fill_panels(k, u, [&](float* to, int64_t row, int64_t rows, int64_t column, int64_t columns) {
    const int64_t nr = winograd_tables().nr;
    const Scratch turned(static_cast<size_t>(9 * rows * nr) * sizeof(float));
    for (int64_t tap = 0; tap < 9; ++tap)
      gemm_table<float>().pack_transposed(turned.as<float>() + tap * rows * nr,
                                          w + (column * 9 + tap) * g.channels + row, 9 * g.channels, rows, columns);
    k.weights(to, u.frequency, nr, turned.as<float>(), nr, rows * nr, rows, columns, false);
  });
  const Window& p = g.window;
  run_tiles(k,
            tiled_product(k, x, y, g.images, {g.height, g.width, g.channels}, {g.out_height, g.out_width, g.filters},
                          p.padding_h, p.padding_w),
            u, mean, var);
}

// dx is the convolution of dy, padded by what is left of the kernel's reach, with the taps in reverse order.
void winograd_dx(ConvAlgorithm algorithm, const ConvGeometry& g, float* dx, const float* dy, const float* w) {
  const WinogradTable& k = table_of(algorithm);
  const Filters u(k, g.filters, g.channels);
  fill_panels(k, u, [&](float* to, int64_t row, int64_t rows, int64_t column, int64_t columns) {
    k.weights(to, u.frequency, winograd_tables().nr, w + row * 9 * g.channels + column, 9 * g.channels, g.channels,
              rows, columns, true);
  });
  const Window& p = g.window;
  run_tiles(k,
            tiled_product(k, dy, dx, g.images, {g.out_height, g.out_width, g.filters}, {g.height, g.width, g.channels},
                          2 - p.padding_h, 2 - p.padding_w),
            u);
}

void winograd_dw(ConvAlgorithm algorithm, const ConvGeometry& g, float* dw, const float* x, const float* dy) {
  const WinogradTable& k = table_of(algorithm);
  const int64_t frequencies = k.in * k.in;
  const int64_t tiles_h = ceil_div(g.out_height, k.out), tiles_w = ceil_div(g.out_width, k.out);
  const TileMap x_map{g.height, g.width, g.channels, tiles_h, tiles_w, -g.window.padding_h, -g.window.padding_w};
  const TileMap y_map{g.out_height, g.out_width, g.filters, tiles_h, tiles_w, 0, 0};
  const int64_t rows = round_up(g.filters, kWinogradBlock), columns = round_up(g.channels, kWinogradBlock);

  // The order of the sums: within a block of tiles, block after block to kGroup tiles, then group after group: one
  // chain over all tiles of a large batch would lose a digit. It depends on nothing but the shape.
  const int64_t block = std::max(rows, columns) <= 64 ? 256 : 128;
  constexpr int64_t kTransform = 16, kGroup = 4096;
  const int64_t tiles = g.images * tiles_h * tiles_w;
  const Tiles v(k, block, columns), d(k, block, rows);
  const int64_t du_frequency = rows * columns;
  const int64_t du_size = frequencies * du_frequency;
  const Scratch du(static_cast<size_t>(du_size) * sizeof(float)),
      groups(tiles > kGroup ? static_cast<size_t>(du_size) * sizeof(float) : 0);
  // Few rows a task where a frequency's product is large, so that many cores find work.
  const int64_t row_step =
      std::max<int64_t>(kWinogradBlock, round_up(ceil_div(rows, ceil_div(columns * rows, 1 << 14)), kWinogradBlock));
  const int64_t row_parts = ceil_div(rows, row_step);
  for (int64_t first = 0; first < tiles; first += block) {
    const int64_t count = std::min(block, tiles - first);
    parallel_pieces(ceil_div(count, kTransform), [&](int64_t t) {
      const int64_t at = t * kTransform, n = std::min(kTransform, count - at);
      const auto part = [&](const Tiles& whole) {
        return TileBuffer{whole.buffer.data + at * kWinogradBlock, whole.buffer.frequency, whole.buffer.block};
      };
      k.input(part(v), x, x_map, first + at, n);
      k.output_gradient(part(d), dy, y_map, first + at, n);
    });
    parallel_pieces(frequencies * row_parts, [&](int64_t t) {
      const int64_t f = t / row_parts, row = t % row_parts * row_step;
      winograd_tables().sum({d.buffer.data + f * d.buffer.frequency + row / kWinogradBlock * d.buffer.block,
                             d.buffer.block, v.buffer.data + f * v.buffer.frequency, v.buffer.block,
                             du.as<float>() + f * du_frequency + row * columns, count, std::min(row_step, rows - row),
                             columns, first % kGroup > 0});
    });
    const int64_t done = first + count;
    if (tiles > kGroup && (done % kGroup == 0 || done == tiles))
      parallel_ranges(du_size, 16384, [&](int64_t begin, int64_t end) {
        float* const to = groups.as<float>();
        for (int64_t i = begin; i < end; ++i) to[i] = (done > kGroup ? to[i] : 0) + du.as<float>()[i];
      });
  }
  const float* const sums = tiles > kGroup ? groups.as<float>() : du.as<float>();
  parallel_ranges(g.filters, 4, [&](int64_t begin, int64_t end) {
    k.weights_gradient(dw + begin * 9 * g.channels, sums + begin * columns, du_frequency, columns, end - begin,
                       g.channels);
  });
}

ConvAlgorithm conv_algorithm_named(const char* value) {
  if (value == nullptr || *value == '\0') return ConvAlgorithm::Auto;
  const std::string_view name = value;
  if (name == "direct") return ConvAlgorithm::Direct;
  if (name == "f2") return ConvAlgorithm::F2;
  if (name == "f4") return ConvAlgorithm::F4;
  tacit::detail::fail("[cpu] TACIT_CONV=", name, " is not one of f4, f2, direct; unset it to choose by size");
}

ConvAlgorithm conv_algorithm_of_environment() {
  static const ConvAlgorithm asked = conv_algorithm_named(std::getenv("TACIT_CONV"));
  return asked;
}

// Not by the number of images: a picture's features are the same bits in every batch.
ConvAlgorithm choose_algorithm(const ConvGeometry& g) {
  const Window& w = g.window;
  const bool can = w.kernel_h == 3 && w.kernel_w == 3 && w.stride_h == 1 && w.stride_w == 1 && w.dilation_h == 1 &&
                   w.dilation_w == 1 && g.groups == 1 && w.padding_h <= 2 && w.padding_w <= 2;
  if (!can) return ConvAlgorithm::Direct;
  const ConvAlgorithm asked = w.algorithm != ConvAlgorithm::Auto ? w.algorithm : conv_algorithm_of_environment();
  if (asked != ConvAlgorithm::Auto) return asked;
  // Few channels: the transforms cost more than the products save. Small maps: most of a tile lies outside of them.
  if (g.channels < 16 || g.filters < 16) return ConvAlgorithm::Direct;
  for (const ConvAlgorithm algorithm : {ConvAlgorithm::F4, ConvAlgorithm::F2}) {
    const WinogradTable& k = table_of(algorithm);
    const int64_t products = k.in * k.in * ceil_div(g.out_height, k.out) * ceil_div(g.out_width, k.out);
    if (products * 8 <= 9 * g.out_height * g.out_width * 5) return algorithm;
  }
  return ConvAlgorithm::Direct;
}

}  // namespace tacit::cpu
