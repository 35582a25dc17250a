// How products and convolutions are cut into blocks for kernels/gemm.h. The order of every sum depends on shapes alone.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "backends/cpu/backend.h"
#include "backends/cpu/kernels/gemm.h"

namespace tacit::cpu {

/// The kernels for float or double of the chosen instruction set.
template <class T>
const GemmTable<T>& gemm_table() {
  if constexpr (std::is_same_v<T, float>)
    return gemm_tables().f32;
  else
    return gemm_tables().f64;
}

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

/// The most rows of C in one block: enough that reading B from the shared cache costs little beside the arithmetic.
inline constexpr int64_t kBlockRows = 240;
/// The most columns of C in one block: B's kGemmDepth rows of them stay in the second-level cache.
inline constexpr int64_t kBlockColumns = 512;
/// Below this many pieces a sum is cut, so that many cores find work: the same on every machine, since it decides in
/// which order numbers are added.
inline constexpr int64_t kEnoughBlocks = 32;
/// Below this many blocks a product is cut finer. It may follow the threads: no element's sum depends on its block.
inline int64_t enough_blocks() { return std::min<int64_t>(kEnoughBlocks, 4 * threads()); }
/// The fewest multiply-adds that are worth a task of their own (about 20 microseconds).
inline constexpr int64_t kBlockWork = 1 << 20;

/// Rows and columns of C that one task computes.
struct BlockSize {
  int64_t rows, columns;
};

/// For `rows` x `columns` of C and tiles of mr x nr; `wanted` blocks keep the workers busy. Of the ways to cut C so,
/// the one that should take the least time: blocks beside each other gather the same rows of A again, blocks below each
/// other pack the same columns of B again, and workers wait for the last one.
inline BlockSize choose_block(int64_t rows, int64_t columns, int64_t depth, int64_t mr, int64_t nr, int64_t wanted,
                              int64_t workers) {
  const int64_t worth = std::max<int64_t>(1, rows * columns * depth / kBlockWork);
  wanted = std::clamp<int64_t>(wanted, 1, worth);
  const int64_t most_across = std::max(ceil_div(columns, kBlockColumns), ceil_div(columns, 4 * nr));
  const int64_t least_below = ceil_div(rows, kBlockRows), most_below = std::max(least_below, rows / (4 * mr));
  BlockSize best{};
  double best_time = 0;
  for (int64_t across = ceil_div(columns, kBlockColumns); across <= most_across; ++across) {
    const int64_t enough = std::clamp(ceil_div(wanted, across), least_below, most_below);
    for (const int64_t below : {enough, round_up(enough, workers)}) {
      if (below > enough && (below > most_below || across * below > worth)) continue;
      const BlockSize size{round_up(ceil_div(rows, below), mr), round_up(ceil_div(columns, across), nr)};
      const int64_t count = ceil_div(rows, size.rows) * ceil_div(columns, size.columns);
      const int64_t rounds = ceil_div(count, workers);
      // In steps of a tile: two vectors of columns a cycle, a gathered or packed element in a quarter of one.
      const double products = static_cast<double>(rows * columns) / static_cast<double>(nr);
      const double waiting = static_cast<double>(rounds * workers) / static_cast<double>(count);
      const double copies = 0.25 * static_cast<double>(across * rows + below * columns);
      // Too few blocks are as slow as one thread for all of them.
      const double missing = static_cast<double>(wanted) / static_cast<double>(std::min(wanted, count));
      const double time = (products * waiting + copies) * missing;
      if (best.rows != 0 && time >= best_time) continue;
      best_time = time;
      best = size;
    }
  }
  return best;
}

/// The length of the pieces that `depth` summed steps are cut into: at most kGemmDepth, about equal.
constexpr int64_t depth_step(int64_t depth) {
  const int64_t count = std::max<int64_t>(1, ceil_div(depth, kGemmDepth));
  return std::min(kGemmDepth, round_up(ceil_div(depth, count), 16));
}

/// Panels for columns [first, first + columns) of C; their packed B lies at `packed`, one panel every panel_size
/// elements.
template <class T>
std::vector<GemmPanel<T>> make_panels(const T* packed, int64_t panel_size, int64_t first, int64_t columns,
                                      const GemmRun* runs, int64_t run_count) {
  const int64_t nr = gemm_table<T>().nr;
  std::vector<GemmPanel<T>> panels;
  for (int64_t j = 0; j < columns; j += nr, packed += panel_size)
    panels.push_back({packed, first + j, std::min(nr, columns - j), runs, run_count});
  return panels;
}

}  // namespace tacit::cpu
