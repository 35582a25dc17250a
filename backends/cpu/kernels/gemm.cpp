// The register tile: mr rows by two vectors of columns, all sums in registers. See gemm.h.
#include "backends/cpu/kernels/gemm.h"

#include <utility>

#include "backends/cpu/kernels/simd.h"

namespace tacit::cpu::TACIT_ISA {
namespace {

// Where element (i, k) of the gathered A lies. An odd number of cache lines between rows spreads them over the sets.
constexpr int kRowPitch = kGemmDepth + 16;
enum class Gather { Rows, Columns };
template <Gather G>
constexpr int step_k = G == Gather::Rows ? 1 : kGemmSweep;
template <Gather G>
constexpr int step_i = G == Gather::Rows ? kRowPitch : 1;

constexpr int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

template <class T>
inline void copy(T* to, const T* from, int64_t n) {
  int64_t j = 0;
  for (; j + Simd<T>::kLanes <= n; j += Simd<T>::kLanes) store(to + j, load<Vec<T>>(from + j));
  // The rest without a loop that the compiler would make long: pieces of a few elements are common (image channels).
  for (; j + 4 <= n; j += 4) __builtin_memcpy(to + j, from + j, 4 * sizeof(T));
  if (n - j >= 2) __builtin_memcpy(to + j, from + j, 2 * sizeof(T)), j += 2;
  if (j < n) to[j] = from[j];
}

/// Fetches what the next gather reads, a few lines between any two pieces of the arithmetic: a gather on its own waits
/// for memory, a fifth of the time of a product of few columns.
template <class T>
class Ahead {
 public:
  /// `count` pieces of `length` elements at pieces[i] + offset, spread over `steps` steps of the summed index.
  Ahead(const T* const* pieces, int64_t count, int64_t offset, int64_t length, int64_t steps)
      : pieces_(pieces),
        end_(pieces + count),
        offset_(offset),
        length_(length),
        share_(((length + kLine - 1) / kLine * count * kSteps + steps - 1) / (steps > 0 ? steps : 1)) {}

  static constexpr int64_t kSteps = 16;  ///< between two calls of fetch()
  void fetch() {
    for (int64_t i = 0; i < share_ && pieces_ != end_; ++i) {
      __builtin_prefetch(*pieces_ + offset_ + at_, 0, 2);
      at_ += kLine;
      if (at_ >= length_) at_ = 0, ++pieces_;
    }
  }

 private:
  static constexpr int64_t kLine = 64 / sizeof(T);
  const T* const* pieces_;
  const T* const* end_;
  int64_t offset_, length_, share_, at_ = 0;
};

template <class T, Gather G, int M, int V>
void tile(const T* a, const GemmPanel<T>& panel, T* const* c, int64_t rows, bool accumulate, const T* bias,
          Ahead<T>& ahead) {
  constexpr int lanes = Simd<T>::kLanes, nr = Simd<T>::kNr;
  // Rows beyond `rows` are computed and dropped; columns that fill no vector go through `edge`.
  const bool whole = panel.columns == V * lanes;
  alignas(64) T edge[M * V * lanes];
  if (!whole) {
    for (T& value : edge) value = T(0);
    for (int64_t i = 0; accumulate && i < rows; ++i) copy(edge + i * V * lanes, c[i] + panel.column, panel.columns);
  }

  Vec<T> start[V] = {};
  if (bias != nullptr && !accumulate) {
    if (!whole) copy(edge, bias + panel.column, panel.columns);
    TACIT_UNROLL for (int j = 0; j < V; ++j) start[j] = load<Vec<T>>((whole ? bias + panel.column : edge) + j * lanes);
  }
  Vec<T> sum[M][V];
  TACIT_UNROLL for (int i = 0; i < M; ++i) {
    TACIT_UNROLL for (int j = 0; j < V; ++j) {
      sum[i][j] = start[j];
      if (accumulate && i < rows)
        sum[i][j] = load<Vec<T>>(whole ? c[i] + panel.column + j * lanes : edge + (i * V + j) * lanes);
    }
  }
  for (int64_t r = 0; r < panel.run_count; ++r) {
    const T* pa = a + panel.runs[r].a * step_k<G>;
    const T* pb = panel.b + panel.runs[r].b * nr;
    for (int64_t left = panel.runs[r].length; left > 0; left -= Ahead<T>::kSteps) {
      ahead.fetch();
      for (int64_t k = least(left, Ahead<T>::kSteps); k > 0; --k) {
        Vec<T> b[V];
        TACIT_UNROLL for (int j = 0; j < V; ++j) b[j] = load<Vec<T>>(pb + j * lanes);
        TACIT_UNROLL for (int i = 0; i < M; ++i) {
          TACIT_UNROLL for (int j = 0; j < V; ++j) sum[i][j] += b[j] * pa[i * step_i<G>];
        }
        pa += step_k<G>;
        pb += nr;
      }
    }
  }
  TACIT_UNROLL for (int i = 0; i < M; ++i) {
    if (i < rows) {
      TACIT_UNROLL for (int j = 0; j < V; ++j)
          store(whole ? c[i] + panel.column + j * lanes : edge + (i * V + j) * lanes, sum[i][j]);
    }
  }
  if (!whole) {
    for (int64_t i = 0; i < rows; ++i) copy(c[i] + panel.column, edge + i * V * lanes, panel.columns);
  }
}

// The gathers repeat the last row up to M rows: sums of repeated rows are dropped, but reading old bits there could
// meet slow subnormal numbers.
template <class T>
void gather_rows(T* a, const GemmBlock<T>& block, int64_t first, int64_t rows, int m) {
  for (int64_t i = 0; i < m; ++i) {
    T* to = a + i * kRowPitch;
    const T* from = block.a[first + (i < rows ? i : rows - 1)];
    for (int64_t p = 0; p < block.piece_count; ++p) {
      copy(to, from + block.pieces[p].offset, block.pieces[p].length);
      to += block.pieces[p].length;
    }
  }
}

// [k][kGemmSweep]: whole cache lines, read in long runs. Whole sweeps have no loop inside: its end, every few elements,
// cost as much as the copies.
template <class T>
void gather_columns(T* a, const GemmBlock<T>& block, int64_t first, int64_t rows) {
  constexpr int lanes = Simd<T>::kLanes;
  if (rows == kGemmSweep) {
    for (int64_t k = 0; k < block.depth; ++k, a += kGemmSweep) {
      const T* const from = block.a[k] + first;
      TACIT_UNROLL for (int i = 0; i < kGemmSweep; i += lanes) store(a + i, load<Vec<T>>(from + i));
    }
    return;
  }
  const int64_t filled = block.row_sums != nullptr ? kGemmSweep : (rows + kMr - 1) / kMr * kMr;
  for (int64_t k = 0; k < block.depth; ++k, a += kGemmSweep) {
    const T* const from = block.a[k] + first;
    copy(a, from, rows);
    for (int64_t i = rows; i < filled; ++i) a[i] = from[rows - 1];
  }
}

// Sums of a sweep's rows, over what was just gathered.
template <class T>
void sum_gathered(T* sums, const T* a, int64_t depth, int64_t rows) {
  constexpr int lanes = Simd<T>::kLanes, vectors = kGemmSweep / lanes;
  Vec<T> sum[vectors] = {};
  for (int64_t k = 0; k < depth; ++k, a += kGemmSweep)
    TACIT_UNROLL for (int v = 0; v < vectors; ++v) sum[v] += load<Vec<T>>(a + v * lanes);
  alignas(64) T all[kGemmSweep];
  TACIT_UNROLL for (int v = 0; v < vectors; ++v) store(all + v * lanes, sum[v]);
  copy(sums, all, rows);
}

template <class T, Gather G, int M>
void row_of_tiles(const T* a, const GemmBlock<T>& block, int64_t first, int64_t rows, Ahead<T>& ahead) {
  for (int64_t p = 0; p < block.panel_count; ++p) {
    const GemmPanel<T>& panel = block.panels[p];
    if (panel.columns > Simd<T>::kLanes)
      tile<T, G, M, 2>(a, panel, block.c + first, rows, block.accumulate, block.bias, ahead);
    else
      tile<T, G, M, 1>(a, panel, block.c + first, rows, block.accumulate, block.bias, ahead);
  }
}

template <class T, Gather G>
void row_of_tiles(const T* a, const GemmBlock<T>& block, int64_t first, int64_t rows, Ahead<T>& ahead) {
  with_tile_rows(rows, [&](auto m) { row_of_tiles<T, G, decltype(m)::value>(a, block, first, rows, ahead); });
}

template <class T>
void by_rows(const GemmBlock<T>& block) {
  alignas(64) T a[kMr * kRowPitch];
  for (int64_t first = 0; first < block.rows; first += kMr) {
    const int64_t rows = least(kMr, block.rows - first);
    gather_rows(a, block, first, rows, tile_rows(rows));
    const int64_t next = block.piece_count == 1 ? least(kMr, block.rows - first - rows) : 0;
    Ahead<T> ahead(block.a + first + rows, next, block.pieces[0].offset, block.depth, block.panel_count * block.depth);
    row_of_tiles<T, Gather::Rows>(a, block, first, rows, ahead);
  }
}

template <class T>
void by_columns(const GemmBlock<T>& block) {
  static_assert(kGemmSweep % kMr == 0);
  const int64_t tiles = (block.rows + kMr - 1) / kMr * block.panel_count;
  Ahead<T> ahead(block.next, block.next != nullptr ? block.next_depth : 0, 0, block.rows, tiles * block.depth);
  for (int64_t first = 0; first < block.rows; first += kGemmSweep) {
    const int64_t end = least(first + kGemmSweep, block.rows);
    gather_columns(block.scratch, block, first, end - first);
    if (block.row_sums != nullptr) sum_gathered(block.row_sums + first, block.scratch, block.depth, end - first);
    for (int64_t i = first; i < end; i += kMr)
      row_of_tiles<T, Gather::Columns>(block.scratch + i - first, block, i, least(kMr, end - i), ahead);
  }
}

template <class T>
void pack(T* panel, const T* const* rows, int64_t count, int64_t columns) {
  constexpr int nr = Simd<T>::kNr;
  if (columns == nr) {
    for (int64_t k = 0; k < count; ++k) {
      store(panel + k * nr, load<Vec<T>>(rows[k]));
      store(panel + k * nr + nr / 2, load<Vec<T>>(rows[k] + nr / 2));
    }
  } else {
    for (int64_t k = 0; k < count; ++k) copy(panel + k * nr, rows[k], columns);
  }
}

// Turns a square of as many rows as a vector has lanes in registers (Eklundh 1972): for J = half the lanes, a quarter,
// …, 1, rows J apart exchange the lanes whose numbers differ in the bit J.
template <int J, class V, int... L>
inline void exchange(V& a, V& b, std::integer_sequence<int, L...>) {
  constexpr int lanes = sizeof...(L);
  const V low = __builtin_shufflevector(a, b, (L & J ? lanes + L - J : L)...);
  b = __builtin_shufflevector(a, b, (L & J ? lanes + L : L + J)...);
  a = low;
}
template <int J, int lanes, class V>
inline void turn(V* rows) {
  TACIT_UNROLL for (int i = 0; i < lanes; ++i) {
    if (!(i & J)) exchange<J>(rows[i], rows[i + J], std::make_integer_sequence<int, lanes>());
  }
  if constexpr (J > 1) turn<J / 2, lanes>(rows);
}

template <class T>
void pack_transposed(T* panel, const T* source, int64_t stride, int64_t count, int64_t columns) {
  constexpr int nr = Simd<T>::kNr, lanes = Simd<T>::kLanes;
  const int64_t whole = count - count % lanes;
  for (int64_t j = 0; j < nr; j += lanes) {
    const T* from[lanes];
    for (int64_t i = 0; i < lanes; ++i) from[i] = source + least(j + i, columns - 1) * stride;
    for (int64_t k = 0; k < whole; k += lanes) {
      Vec<T> rows[lanes];
      TACIT_UNROLL for (int i = 0; i < lanes; ++i) rows[i] = load<Vec<T>>(from[i] + k);
      turn<lanes / 2, lanes>(rows);
      TACIT_UNROLL for (int i = 0; i < lanes; ++i) store(panel + (k + i) * nr + j, rows[i]);
    }
    for (int64_t k = whole; k < count; ++k)
      for (int64_t i = 0; i < lanes; ++i) panel[k * nr + j + i] = from[i][k];
  }
}

template <class T>
constexpr GemmTable<T> table() {
  return {kMr, Simd<T>::kNr, by_rows<T>, by_columns<T>, pack<T>, pack_transposed<T>};
}
constexpr GemmTables kTables = {table<float>(), table<double>()};

}  // namespace

const GemmTables& gemm_tables() { return kTables; }

}  // namespace tacit::cpu::TACIT_ISA
