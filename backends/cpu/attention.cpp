// Attention in tiles (Dao et al. 2022): a block of queries meets tile after tile of keys, on the product kernels of
// kernels/gemm.h, so that scores never leave the second-level cache and memory stays linear in the tokens. Scores are
// made transposed, S' = K Q', a row for each key: kernels/attention.h says why.
//
// A task is one head of one sample, some of its query blocks where there are few heads, or several heads where they are
// short. This depends on the shapes alone; tasks that share a head sum parts of dk and dv, which are added in order.
#include "backends/cpu/kernels/attention.h"

#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "backends/cpu/backend.h"
#include "backends/cpu/gemm_blocks.h"
#include "backends/cpu/memory.h"
#include "backends/cpu/parallel.h"

namespace tacit::cpu {
namespace {

/// Queries in a block, at most; a multiple of kQueryStep and of every panel's columns.
constexpr int64_t kQueries = 96;
/// Rows of scores are padded to a multiple of this, so that every tile of a product is whole.
constexpr int64_t kKeyStep = 4;
static_assert(kQueries <= kGemmDepth && kQueries % 32 == 0 && kGemmDepth % kKeyStep == 0);

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
    const int64_t worth = kBlockWork / std::max<int64_t>(1, queries * keys * (size + values));
    heads_a_task = groups > 1 ? 1 : std::clamp<int64_t>(worth, 1, std::max<int64_t>(1, all_heads / kEnoughBlocks));
  }
  int64_t tasks() const { return groups > 1 ? all_heads * groups : ceil_div(all_heads, heads_a_task); }
  /// Calls f(head, first query, end) for the parts of a task.
  template <class F>
  void for_parts(int64_t task, F&& f) const {
    if (groups > 1) {
      const int64_t begin = task % groups * group;
      return f(task / groups, begin, std::min(queries, begin + group));
    }
    for (int64_t h = task * heads_a_task; h < std::min(all_heads, (task + 1) * heads_a_task); ++h)
      f(h, int64_t{0}, queries);
  }

  int64_t heads, all_heads, queries, keys, size, values;
  int64_t group, groups;  // queries in a group, how many groups a head has
  int64_t tile;           // keys in a tile; the last may have fewer
  int64_t heads_a_task;
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

/// Pointers to rows [first, first + count) of a head, as products take them; the last is repeated up to kKeyStep.
template <class T>
class RowPointers {
 public:
  RowPointers(const Head<T>& head, int64_t first, int64_t count) {
    for (int64_t i = 0; i < round_up(count, kKeyStep); ++i) rows_[i] = head.row(first + std::min(i, count - 1));
  }
  T* const* data() const { return rows_; }

 private:
  T* rows_[kGemmDepth];
};

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

/// The right side of products: rows of a head in panels, in memory that is filled again for the next block or head.
template <class T>
class Packed {
 public:
  static int64_t room(int64_t depth, int64_t columns) { return depth * round_up(columns, gemm_table<T>().nr); }
  Packed(Parts<T>& parts, int64_t depth, int64_t columns)
      : panel_size_(depth * gemm_table<T>().nr),
        data_(parts.take(room(depth, columns))),
        panels_(make_panels<T>(data_, panel_size_, 0, columns, &run_, 1)) {}
  Packed(const Packed&) = delete;
  Packed& operator=(const Packed&) = delete;

  /// B = rows [first, first + count) of a head; count <= kGemmDepth.
  void rows(const Head<const T>& head, int64_t first, int64_t count) {
    const GemmTable<T>& gemm = gemm_table<T>();
    const T* from[kGemmDepth];
    depth_ = count;
    for (const GemmPanel<T>& panel : panels_) {
      T* const to = data_ + panel.column / gemm.nr * panel_size_;
      if (panel.columns < gemm.nr) std::fill_n(to, count * gemm.nr, T(0));
      for (int64_t i = 0; i < count; ++i) from[i] = head.row(first + i) + panel.column;
      gemm.pack(to, from, count, panel.columns);
    }
    used_ = static_cast<int64_t>(panels_.size());
  }
  /// B = the same rows as columns, each `depth` long, the last again up to a multiple of kQueryStep.
  void columns(const Head<const T>& head, int64_t first, int64_t count, int64_t depth) {
    const GemmTable<T>& gemm = gemm_table<T>();
    depth_ = depth;
    const int64_t padded = round_up(count, kQueryStep);
    used_ = ceil_div(padded, gemm.nr);
    for (int64_t j = 0; j < padded; j += gemm.nr) {
      const int64_t column = std::min(j, count - 1), width = std::min(gemm.nr, count - column);
      gemm.pack_transposed(data_ + j / gemm.nr * panel_size_, head.row(first + column), head.stride, depth, width);
      panels_[static_cast<size_t>(j / gemm.nr)].columns = std::min(gemm.nr, padded - j);
    }
  }

  /// C (+)= A B, where A has `count` rows.
  void multiply(T* const* c, const T* const* a, int64_t count, bool accumulate) {
    for (int64_t k = 0; k < depth_; k += kGemmDepth) {
      const int64_t length = std::min(kGemmDepth, depth_ - k);
      const GemmPiece piece{k, length};
      run_ = {0, k, length};
      gemm_table<T>().by_rows({a, count, length, &piece, 1, c, panels_.data(), used_, accumulate || k > 0, nullptr});
    }
  }
  /// C (+)= A' B, where A has as many rows as B, and C `count`. `scratch` has kGemmScratch elements.
  void multiply_transposed(T* const* c, const T* const* a, int64_t count, bool accumulate, T* scratch) {
    run_ = {0, 0, depth_};
    gemm_table<T>().by_columns({a, count, depth_, nullptr, 0, c, panels_.data(), used_, accumulate, scratch});
  }

 private:
  int64_t panel_size_, depth_ = 0, used_ = 0;
  T* data_;
  GemmRun run_{};
  std::vector<GemmPanel<T>> panels_;
};

constexpr int64_t kPitch = kQueries + 16;  // of scores

/// Attention of the parts of one task.
template <class T>
class Forward {
 public:
  Forward(const AttentionArgs& args, const Sizes& sizes)
      : a_(args),
        z_(sizes),
        parts_(Packed<T>::room(z_.size, kQueries) + Packed<T>::room(z_.tile, z_.values) + z_.tile * kPitch +
               kQueries * z_.values + kGemmScratch),
        queries_(parts_, z_.size, kQueries),
        values_(parts_, z_.tile, z_.values),
        scores_(parts_.take(z_.tile * kPitch), kPitch),
        sums_(parts_.take(kQueries * z_.values), z_.values),
        score_rows_(scores_, 0, z_.tile),
        sum_rows_(sums_, 0, kQueries),
        scratch_(parts_.take(kGemmScratch)) {}

  void run(int64_t head, int64_t begin, int64_t end) {
    const AttentionTable<T>& table = attention_table(T());
    const Head<const T> q(a_.q, z_, head), k(a_.k, z_, head), v(a_.v, z_, head);
    const Head<T> y(a_.y, z_, head);
    const T scale = static_cast<T>(a_.scale);
    for (int64_t i = begin; i < end; i += kQueries) {
      const int64_t count = std::min(kQueries, end - i), columns = round_up(count, kQueryStep);
      std::array<T, kQueries> largest, shrink;
      std::array<double, kQueries> sum{};
      largest.fill(-std::numeric_limits<T>::infinity());
      queries_.columns(q, i, count, z_.size);
      for (int64_t j = 0; j < z_.keys; j += z_.tile) {
        const int64_t keys = std::min(z_.tile, z_.keys - j), padded = round_up(keys, kKeyStep);
        queries_.multiply(score_rows_.data(), RowPointers<const T>(k, j, keys).data(), padded, false);
        table.join_tile(scores_.data, kPitch, keys, columns, scale, largest.data(), sum.data(), shrink.data());
        if (j > 0)
          for (int64_t r = 0; r < count; ++r)
            table.scale_row(sums_.row(r), sums_.row(r), z_.values, shrink[static_cast<size_t>(r)]);
        if (i == begin || z_.keys > z_.tile) values_.rows(v, j, keys);
        values_.multiply_transposed(sum_rows_.data(), score_rows_.data(), count, j > 0, scratch_);
      }
      for (int64_t r = 0; r < count; ++r) {
        const double total = sum[static_cast<size_t>(r)];
        table.scale_row(y.row(i + r), sums_.row(r), z_.values, static_cast<T>(1 / total));
        a_.lse.ptr<T>()[head * z_.queries + i + r] =
            static_cast<T>(static_cast<double>(largest[static_cast<size_t>(r)]) + std::log(total));
      }
    }
  }

 private:
  const AttentionArgs& a_;
  const Sizes& z_;
  Parts<T> parts_;
  Packed<T> queries_, values_;
  Head<T> scores_, sums_;  // S', and y before it is divided by the sum of its weights
  RowPointers<T> score_rows_, sum_rows_;
  T* scratch_;
};

/// Rows that a task sums dk or dv into; null where the gradient is not wanted.
template <class T>
using Target = std::optional<Head<T>>;

template <class T>
class Backward {
 public:
  Backward(const AttentionGradArgs& args, const Sizes& sizes)
      : a_(args),
        z_(sizes),
        parts_(Packed<T>::room(z_.size + z_.values, kQueries) + Packed<T>::room(kQueries, z_.size) +
               Packed<T>::room(kQueries, z_.values) + Packed<T>::room(z_.tile, z_.size) + 2 * z_.tile * kPitch +
               kGemmScratch),
        q_columns_(parts_, z_.size, kQueries),
        dy_columns_(parts_, z_.values, kQueries),
        q_rows_(parts_, kQueries, z_.size),
        dy_rows_(parts_, kQueries, z_.values),
        key_rows_(parts_, z_.tile, z_.size),
        scores_(parts_.take(z_.tile * kPitch), kPitch),
        slopes_(parts_.take(z_.tile * kPitch), kPitch),
        score_rows_(scores_, 0, z_.tile),
        slope_rows_(slopes_, 0, z_.tile),
        scratch_(parts_.take(kGemmScratch)) {}

  void run(int64_t head, int64_t begin, int64_t end, const Target<T>& dk, const Target<T>& dv) {
    const AttentionTable<T>& table = attention_table(T());
    const Head<const T> q(a_.q, z_, head), k(a_.k, z_, head), v(a_.v, z_, head), y(a_.y, z_, head), dy(a_.dy, z_, head);
    const T* const lse = a_.lse.ptr<T>() + head * z_.queries;
    const T scale = static_cast<T>(a_.scale);
    for (int64_t i = begin; i < end; i += kQueries) {
      const int64_t count = std::min(kQueries, end - i), columns = round_up(count, kQueryStep);
      q_columns_.columns(q, i, count, z_.size);
      dy_columns_.columns(dy, i, count, z_.values);
      if (dk) q_rows_.rows(q, i, count);
      if (dv) dy_rows_.rows(dy, i, count);
      std::array<T, kQueries> along{}, row_lse{};
      for (int64_t r = 0; r < count; ++r) {
        along[static_cast<size_t>(r)] = table.dot(dy.row(i + r), y.row(i + r), z_.values);
        row_lse[static_cast<size_t>(r)] = lse[i + r];
      }
      for (int64_t j = 0; j < z_.keys; j += z_.tile) {
        const int64_t keys = std::min(z_.tile, z_.keys - j), padded = round_up(keys, kKeyStep);
        q_columns_.multiply(score_rows_.data(), RowPointers<const T>(k, j, keys).data(), padded, false);
        dy_columns_.multiply(slope_rows_.data(), RowPointers<const T>(v, j, keys).data(), padded, false);
        table.gradient(scores_.data, slopes_.data, kPitch, keys, columns, scale, row_lse.data(), along.data());
        const bool more = i > begin;
        if (dv) dy_rows_.multiply(RowPointers<T>(*dv, j, keys).data(), score_rows_.data(), keys, more);
        if (dk) q_rows_.multiply(RowPointers<T>(*dk, j, keys).data(), slope_rows_.data(), keys, more);
        if (!a_.dq.defined()) continue;
        if (i == begin || z_.keys > z_.tile) key_rows_.rows(k, j, keys);
        key_rows_.multiply_transposed(RowPointers<T>(Head<T>(a_.dq, z_, head), i, count).data(), slope_rows_.data(),
                                      count, j > 0, scratch_);
      }
    }
  }

 private:
  const AttentionGradArgs& a_;
  const Sizes& z_;
  Parts<T> parts_;
  Packed<T> q_columns_, dy_columns_, q_rows_, dy_rows_, key_rows_;
  Head<T> scores_, slopes_;  // P' and dS'
  RowPointers<T> score_rows_, slope_rows_;
  T* scratch_;
};

/// Where a task sums dk or dv: the result's own rows or, where several tasks share a head, those of the task's part.
template <class T>
Target<T> target(const View& out, const Sizes& z, int64_t task, int64_t head, T* parts) {
  if (!out.defined()) return std::nullopt;
  if (z.groups == 1) return Head<T>(out, z, head);
  return Head<T>(parts + task * z.keys * out.shape[3], out.shape[3]);
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
    parallel_pieces(z.tasks(), [&](int64_t task) {
      Forward<decltype(zero)> forward(a, z);
      z.for_parts(task, [&](int64_t head, int64_t begin, int64_t end) { forward.run(head, begin, end); });
    });
  });
}

void CpuBackend::attention_grad(const AttentionGradArgs& a) {
  const Sizes z(a.q, a.v);
  visit_floating("attention_grad", a.dy.dtype, [&](auto zero) {
    using T = decltype(zero);
    // All dk, then all dv.
    const int64_t shared = z.groups == 1 ? 0 : z.tasks() * z.keys;
    const Scratch parts(static_cast<size_t>(shared * (z.size + z.values)) * sizeof(T));
    T* const dk = parts.as<T>();
    T* const dv = shared == 0 ? nullptr : dk + shared * z.size;
    parallel_pieces(z.tasks(), [&](int64_t task) {
      Backward<T> backward(a, z);
      z.for_parts(task, [&](int64_t head, int64_t begin, int64_t end) {
        backward.run(head, begin, end, target<T>(a.dk, z, task, head, dk), target<T>(a.dv, z, task, head, dv));
      });
    });
    if (z.groups == 1) return;
    add_groups<T>(a.dk, z, dk);
    add_groups<T>(a.dv, z, dv);
  });
}

}  // namespace tacit::cpu
