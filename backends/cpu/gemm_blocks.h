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

/// For `rows` x `columns` of C and tiles of mr x nr; `wanted` blocks keep the threads busy. Cuts columns first:
/// narrower blocks gather A again, lower ones read the larger B again.
inline BlockSize choose_block(int64_t rows, int64_t columns, int64_t depth, int64_t mr, int64_t nr, int64_t wanted) {
  BlockSize block{std::min(kBlockRows, round_up(rows, mr)), std::min(kBlockColumns, round_up(columns, nr))};
  wanted = std::min(wanted, rows * columns * depth / kBlockWork);
  while (ceil_div(rows, block.rows) * ceil_div(columns, block.columns) < wanted) {
    if (block.columns > 4 * nr)
      block.columns = round_up(block.columns / 2, nr);
    else if (block.rows > 4 * mr)
      block.rows = round_up(block.rows / 2, mr);
    else
      break;
  }
  // As many blocks, but about equal, so that threads finish together.
  block.rows = round_up(ceil_div(rows, ceil_div(rows, block.rows)), mr);
  block.columns = round_up(ceil_div(columns, ceil_div(columns, block.columns)), nr);
  return block;
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
