// Attention in tiles (Dao et al. 2022): a block of queries meets tile after tile of keys, on the product kernels of
// kernels/gemm.h, so that scores never leave the second-level cache and memory stays linear in the tokens.
//
// A task is one head of one sample, or a group of its query blocks where there are few heads. Groups depend on the
// shapes alone; each sums its own part of dk and dv, and the parts are added in order.
#include "backends/cpu/kernels/attention.h"

#include <array>
#include <limits>
#include <utility>

#include "backends/cpu/backend.h"
#include "backends/cpu/gemm_blocks.h"
#include "backends/cpu/memory.h"
#include "backends/cpu/parallel.h"

namespace tacit::cpu {
namespace {

/// Queries in a block: a multiple of every tile's rows.
constexpr int64_t kQueries = 96;
/// Keys in a tile are a multiple of every panel's columns.
constexpr int64_t kKeyStep = 32;
static_assert(kGemmDepth % kKeyStep == 0 && kQueries <= kGemmDepth);

struct Sizes {
  explicit Sizes(const View& q, const View& v)
      : heads(q.shape[1]),
        all_heads(q.shape[0] * heads),
        queries(q.shape[2]),
        keys(v.shape[2]),
        size(q.shape[3]),
        values(v.shape[3]) {
    const int64_t blocks = ceil_div(queries, kQueries), tiles = ceil_div(keys, kGemmDepth);
    const int64_t wanted = std::clamp<int64_t>(ceil_div(kEnoughBlocks, all_heads), 1, blocks);
    group = ceil_div(blocks, wanted) * kQueries;
    groups = ceil_div(queries, group);
    tile = round_up(ceil_div(keys, tiles), kKeyStep);
  }
  int64_t heads, all_heads, queries, keys, size, values;
  int64_t group, groups;  // queries in a group, how many groups a head has
  int64_t tile;           // keys in a tile; the last may be shorter
};

/// The rows of one head of one sample.
template <class T>
struct Head {
  Head(const View& view, const Sizes& z, int64_t head)
      : data(view.ptr<T>() + head / z.heads * view.strides[0] + head % z.heads * view.strides[1]),
        stride(view.strides[2]) {}
  Head(T* first, int64_t row_stride) : data(first), stride(row_stride) {}
  T* row(int64_t i) const { return data + i * stride; }

  T* data;
  int64_t stride;
};

template <class T>
using RowPointers = std::array<T*, kQueries>;
template <class T>
RowPointers<T> pointers(const Head<T>& head, int64_t first, int64_t count) {
  RowPointers<T> rows{};
  for (int64_t i = 0; i < count; ++i) rows[static_cast<size_t>(i)] = head.row(first + i);
  return rows;
}

/// Rows [first, first + count) as B of a product: panels of columns, all `count` steps deep; count <= kGemmDepth.
template <class T, class U>
void pack_rows(T* to, const Head<U>& head, int64_t first, int64_t count, int64_t columns) {
  const GemmTable<T>& gemm = gemm_table<T>();
  const T* rows[kGemmDepth];
  for (int64_t j = 0; j < columns; j += gemm.nr, to += count * gemm.nr) {
    const int64_t width = std::min(gemm.nr, columns - j);
    if (width < gemm.nr) std::fill_n(to, count * gemm.nr, T(0));
    for (int64_t i = 0; i < count; ++i) rows[i] = head.row(first + i) + j;
    gemm.pack(to, rows, count, width);
  }
}

/// All rows, transposed, as B: panels of nr rows, each `depth` steps deep.
template <class T, class U>
void pack_transposed(T* to, const Head<U>& head, int64_t count, int64_t depth) {
  const GemmTable<T>& gemm = gemm_table<T>();
  for (int64_t i = 0; i < count; i += gemm.nr, to += depth * gemm.nr) {
    const int64_t width = std::min(gemm.nr, count - i);
    if (width < gemm.nr) std::fill_n(to, depth * gemm.nr, T(0));
    gemm.pack_transposed(to, head.row(i), head.stride, depth, width);
  }
}

/// C (+)= A B with A and C as row pointers, B packed `depth` steps deep.
template <class T, class U>
void multiply(T* const* c, U* const* a, int64_t rows, const T* b, int64_t depth, int64_t columns, bool accumulate) {
  const GemmTable<T>& gemm = gemm_table<T>();
  GemmRun run{};
  GemmPiece piece{};
  const auto panels = make_panels(b, depth * gemm.nr, 0, columns, &run, 1);
  for (int64_t k = 0; k < depth; k += kGemmDepth) {
    const int64_t length = std::min(kGemmDepth, depth - k);
    piece = {k, length};
    run = {0, k, length};
    gemm.by_rows({a, rows, length, &piece, 1, c, panels.data(), static_cast<int64_t>(panels.size()),
                  accumulate || k > 0, nullptr});
  }
}

/// C (+)= Aᵀ B for the `depth` rows of A, at most kQueries; C has `rows` rows.
template <class T>
void multiply_transposed(T* const* c, T* const* a, int64_t rows, const T* b, int64_t depth, int64_t columns,
                         bool accumulate, T* scratch) {
  const GemmTable<T>& gemm = gemm_table<T>();
  const GemmRun run{0, 0, depth};
  const auto panels = make_panels(b, depth * gemm.nr, 0, columns, &run, 1);
  gemm.by_columns(
      {a, rows, depth, nullptr, 0, c, panels.data(), static_cast<int64_t>(panels.size()), accumulate, scratch});
}

/// Scratch memory of a task, cut into parts.
template <class T>
class Parts {
 public:
  explicit Parts(int64_t elements) : memory_(static_cast<size_t>(elements) * sizeof(T)), next_(memory_.as<T>()) {}
  T* take(int64_t elements) { return std::exchange(next_, next_ + elements); }

 private:
  Scratch memory_;
  T* next_;
};

template <class T>
int64_t padded(int64_t columns) {
  return round_up(columns, gemm_table<T>().nr);
}

template <class T>
void forward(const AttentionArgs& a, const Sizes& z, int64_t task) {
  const AttentionTable<T>& rows_of = attention_table(T());
  const int64_t head = task / z.groups, begin = task % z.groups * z.group, end = std::min(z.queries, begin + z.group);
  const Head<const T> q(a.q, z, head), k(a.k, z, head), v(a.v, z, head);
  const Head<T> y(a.y, z, head);
  T* const lse = a.lse.ptr<T>() + head * z.queries;
  const T scale = static_cast<T>(a.scale);

  const int64_t value_panels = padded<T>(z.values), pitch = z.tile + 16;
  Parts<T> memory(padded<T>(z.keys) * z.size + z.keys * value_panels + kQueries * pitch);
  T* const keys = memory.take(padded<T>(z.keys) * z.size);
  T* const values = memory.take(z.keys * value_panels);
  const Head<T> scores(memory.take(kQueries * pitch), pitch);
  pack_transposed(keys, k, z.keys, z.size);
  for (int64_t j = 0; j < z.keys; j += z.tile)
    pack_rows(values + j * value_panels, v, j, std::min(z.tile, z.keys - j), z.values);

  const RowPointers<T> s = pointers(scores, 0, kQueries);
  for (int64_t i = begin; i < end; i += kQueries) {
    const int64_t rows = std::min(kQueries, end - i);
    const RowPointers<const T> q_rows = pointers(q, i, rows);
    const RowPointers<T> y_rows = pointers(y, i, rows);
    std::array<T, kQueries> largest;
    std::array<double, kQueries> sum{};
    largest.fill(-std::numeric_limits<T>::infinity());
    for (int64_t j = 0; j < z.keys; j += z.tile) {
      const int64_t count = std::min(z.tile, z.keys - j);
      multiply(s.data(), q_rows.data(), rows, keys + j * z.size, z.size, count, false);
      for (size_t r = 0; r < static_cast<size_t>(rows); ++r)
        rows_of.join_tile(s[r], count, scale, &largest[r], &sum[r], j > 0 ? y_rows[r] : nullptr, z.values);
      multiply(y_rows.data(), s.data(), rows, values + j * value_panels, count, z.values, j > 0);
    }
    for (size_t r = 0; r < static_cast<size_t>(rows); ++r)
      lse[i + static_cast<int64_t>(r)] = rows_of.finish(y_rows[r], z.values, largest[r], sum[r]);
  }
}

/// Where a task adds up dk and dv: row pointers, empty where the gradient is not wanted.
template <class T>
struct KeyGradients {
  std::vector<T*> dk, dv;
};

template <class T>
void backward(const AttentionGradArgs& a, const Sizes& z, int64_t task, const KeyGradients<T>& to) {
  const AttentionTable<T>& rows_of = attention_table(T());
  const int64_t head = task / z.groups, begin = task % z.groups * z.group, end = std::min(z.queries, begin + z.group);
  const Head<const T> q(a.q, z, head), k(a.k, z, head), v(a.v, z, head), y(a.y, z, head), dy(a.dy, z, head);
  const T* const lse = a.lse.ptr<T>() + head * z.queries;
  const T scale = static_cast<T>(a.scale);

  const int64_t key_panels = padded<T>(z.keys), size_panels = padded<T>(z.size), value_panels = padded<T>(z.values);
  const int64_t pitch = z.tile + 16;
  Parts<T> memory(key_panels * (z.size + z.values) + z.keys * size_panels + kQueries * (size_panels + value_panels) +
                  2 * kQueries * pitch + kGemmScratch);
  T* const keys_t = memory.take(key_panels * z.size);
  T* const values_t = memory.take(key_panels * z.values);
  T* const keys = memory.take(z.keys * size_panels);
  T* const packed_q = memory.take(kQueries * size_panels);
  T* const packed_dy = memory.take(kQueries * value_panels);
  const Head<T> scores(memory.take(kQueries * pitch), pitch), slopes(memory.take(kQueries * pitch), pitch);
  T* const scratch = memory.take(kGemmScratch);
  pack_transposed(keys_t, k, z.keys, z.size);
  pack_transposed(values_t, v, z.keys, z.values);
  for (int64_t j = 0; j < z.keys; j += z.tile)
    pack_rows(keys + j * size_panels, k, j, std::min(z.tile, z.keys - j), z.size);

  const RowPointers<T> s = pointers(scores, 0, kQueries), ds = pointers(slopes, 0, kQueries);
  for (int64_t i = begin; i < end; i += kQueries) {
    const int64_t rows = std::min(kQueries, end - i);
    const RowPointers<const T> q_rows = pointers(q, i, rows), dy_rows = pointers(dy, i, rows);
    pack_rows(packed_q, q, i, rows, z.size);
    pack_rows(packed_dy, dy, i, rows, z.values);
    std::array<T, kQueries> along;
    for (int64_t r = 0; r < rows; ++r)
      along[static_cast<size_t>(r)] = rows_of.dot(dy.row(i + r), y.row(i + r), z.values);
    for (int64_t j = 0; j < z.keys; j += z.tile) {
      const int64_t count = std::min(z.tile, z.keys - j);
      multiply(s.data(), q_rows.data(), rows, keys_t + j * z.size, z.size, count, false);
      multiply(ds.data(), dy_rows.data(), rows, values_t + j * z.values, z.values, count, false);
      for (size_t r = 0; r < static_cast<size_t>(rows); ++r)
        rows_of.gradient(s[r], ds[r], count, scale, lse[i + static_cast<int64_t>(r)], along[r]);
      const bool more = i > begin;
      if (!to.dv.empty())
        multiply_transposed(to.dv.data() + j, s.data(), count, packed_dy, rows, z.values, more, scratch);
      if (!to.dk.empty())
        multiply_transposed(to.dk.data() + j, ds.data(), count, packed_q, rows, z.size, more, scratch);
      if (a.dq.defined()) {
        const RowPointers<T> dq_rows = pointers(Head<T>(a.dq, z, head), i, rows);
        multiply(dq_rows.data(), ds.data(), rows, keys + j * size_panels, count, z.size, j > 0);
      }
    }
  }
}

/// The rows of dk or dv that a task sums into: the result's own, or, where several tasks share a head, those of the
/// task's part.
template <class T>
std::vector<T*> target_rows(const View& out, const Sizes& z, int64_t task, T* part) {
  std::vector<T*> rows;
  if (!out.defined()) return rows;
  const Head<T> head = z.groups == 1 ? Head<T>(out, z, task) : Head<T>(part, out.shape[3]);
  for (int64_t j = 0; j < z.keys; ++j) rows.push_back(head.row(j));
  return rows;
}

/// out = the sum of the parts of each head, in the order of the groups.
template <class T>
void add_groups(const View& out, const Sizes& z, const T* parts) {
  if (!out.defined()) return;
  const int64_t columns = out.shape[3];
  parallel_ranges(z.all_heads * z.keys, std::max<int64_t>(1, 4096 / columns), [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      const int64_t head = row / z.keys, j = row % z.keys;
      T* const to = Head<T>(out, z, head).row(j);
      for (int64_t g = 0; g < z.groups; ++g) {
        const T* const from = parts + ((head * z.groups + g) * z.keys + j) * columns;
        for (int64_t c = 0; c < columns; ++c) to[c] = g == 0 ? from[c] : to[c] + from[c];
      }
    }
  });
}

}  // namespace

void CpuBackend::attention(const AttentionArgs& a) {
  const Sizes z(a.q, a.v);
  visit_floating("attention", a.y.dtype, [&](auto zero) {
    parallel_pieces(z.all_heads * z.groups, [&](int64_t task) { forward<decltype(zero)>(a, z, task); });
  });
}

void CpuBackend::attention_grad(const AttentionGradArgs& a) {
  const Sizes z(a.q, a.v);
  visit_floating("attention_grad", a.dy.dtype, [&](auto zero) {
    using T = decltype(zero);
    const int64_t tasks = z.all_heads * z.groups, part = z.groups == 1 ? 0 : z.keys * (z.size + z.values);
    const Scratch parts(static_cast<size_t>(tasks * part) * sizeof(T));
    // All dk, then all dv.
    T* const dk = parts.as<T>();
    T* const dv = z.groups == 1 ? nullptr : dk + tasks * z.keys * z.size;
    parallel_pieces(tasks, [&](int64_t task) {
      const KeyGradients<T> to{target_rows(a.dk, z, task, z.groups == 1 ? nullptr : dk + task * z.keys * z.size),
                               target_rows(a.dv, z, task, z.groups == 1 ? nullptr : dv + task * z.keys * z.values)};
      backward<T>(a, z, task, to);
    });
    if (z.groups == 1) return;
    add_groups<T>(a.dk, z, dk);
    add_groups<T>(a.dv, z, dv);
  });
}

}  // namespace tacit::cpu
