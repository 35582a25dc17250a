// Matrix products.
//
// Which code computes them: f32 always takes the own tiles of kernels/gemm.h, so that its speed does not depend on the
// core type that OpenBLAS detected; f64 takes OpenBLAS's dgemm. Both run on one thread inside oneTBB tasks, each task a
// block of C. Few blocks over a long summed index (weight gradients) also cut that index; the partial products are
// added in order.
#include <cblas.h>

#include <climits>

#include "backends/cpu/backend.h"
#include "backends/cpu/gemm_blocks.h"
#include "backends/cpu/kernels/elementwise.h"
#include "backends/cpu/memory.h"
#include "backends/cpu/parallel.h"

namespace tacit::cpu {
namespace {

/// A strided matrix.
template <class T>
struct Matrix {
  T* data;
  int64_t rows, columns, row_stride, column_stride;

  T* at(int64_t i, int64_t j) const { return data + i * row_stride + j * column_stride; }
  Matrix transposed() const { return {data, columns, rows, column_stride, row_stride}; }
  /// The stride of a dimension with one element says nothing: make it the dense one.
  Matrix tidy() const {
    Matrix m = *this;
    if (m.columns <= 1) m.column_stride = 1;
    if (m.rows <= 1) m.row_stride = m.column_stride == 1 ? m.columns : 1;
    return m;
  }
};

template <class T>
Matrix<T> dense(T* data, int64_t rows, int64_t columns) {
  return {data, rows, columns, columns, 1};
}

template <class T, class U>
void copy_matrix(const Matrix<T>& to, const Matrix<U>& from) {
  parallel_ranges(to.rows, std::max<int64_t>(1, 16384 / std::max<int64_t>(1, to.columns)), [&](int64_t i0, int64_t i1) {
    for (int64_t i = i0; i < i1; ++i)
      for (int64_t j = 0; j < to.columns; ++j) *to.at(i, j) = *from.at(i, j);
  });
}

/// Rows [i, i + rows), columns [j, j + columns) of C, steps [k, k + depth) of the summed index.
struct BlockRange {
  int64_t i, rows, j, columns, k, depth;
};

/// Packs the parts of B that panels read: steps [k, k + depth), columns [j, j + columns), one panel every panel_size
/// elements.
void pack_panels(float* panels, int64_t panel_size, const Matrix<const float>& b, int64_t k, int64_t depth, int64_t j,
                 int64_t columns) {
  const GemmTable<float>& gemm = gemm_table<float>();
  const int64_t nr = gemm.nr, whole = columns / nr * nr;
  if (b.column_stride != 1) {
    for (int64_t c = 0; c < columns; c += nr)
      gemm.pack_transposed(panels + c / nr * panel_size, b.at(k, j + c), b.column_stride, depth,
                           std::min(nr, columns - c));
    return;
  }
  if (whole < columns) std::fill_n(panels + whole / nr * panel_size, depth * nr, 0.0f);
  // A few rows of all panels at a time: memory is read in long runs.
  constexpr int64_t kRows = 16;
  for (int64_t first = 0; first < depth; first += kRows) {
    const int64_t count = std::min(kRows, depth - first);
    const float* rows[kRows];
    for (int64_t i = 0; i < count; ++i) rows[i] = b.at(k + first + i, j);
    for (int64_t c = 0; c < columns; c += nr) {
      gemm.pack(panels + c / nr * panel_size + first * nr, rows, count, std::min(nr, columns - c));
      for (int64_t i = 0; i < count; ++i) rows[i] += nr;
    }
  }
}

/// A product in progress: C = A B, where each of A and B is contiguous in one direction and C in its columns.
template <class T>
struct Product {
  Matrix<T> c;
  Matrix<const T> a, b;
  const T* packed = nullptr;  // all of B in panels of b.rows steps, or null: every task packs what it needs
  // float only:
  const T* bias = nullptr;    // of C's columns, where its sums begin; null: at 0
  T* row_sums = nullptr;      // of A, which is then contiguous in columns; null: not wanted
  bool gelu = false;          // C is gelu of the product, and
  T* derivative = nullptr;    // receives gelu's derivative, or null
  const T* factor = nullptr;  // C is multiplied by this, element by element; null: it is not

  /// One block of C, or of the partial product `out`; sums of A's rows to `sums` unless that is null.
  void block(const Matrix<T>& out, const BlockRange& range, double* sums) const;
  /// What follows when a block is done, while it is in the cache. derivative and factor lie as C does.
  void finish(const BlockRange& range) const;
};

template <class T>
void Product<T>::finish(const BlockRange& range) const {
  if (!gelu && factor == nullptr) return;
  const ElementwiseTable<T>& table = elementwise_table(T());
  for (int64_t i = range.i; i < range.i + range.rows; ++i) {
    T* const to = c.at(i, range.j);
    const int64_t at = to - c.data, n = range.columns;
    if (gelu && derivative != nullptr) table.unary_both(UnaryOp::Gelu, n, to, derivative + at, to);
    if (gelu && derivative == nullptr) table.unary(UnaryOp::Gelu, n, to, 1, to, 1);
    if (factor != nullptr) table.binary(BinaryOp::Mul, n, to, 1, to, 1, factor + at, 1);
  }
}

template <>
void Product<float>::block(const Matrix<float>& out, const BlockRange& range, double* sums) const {
  const GemmTable<float>& gemm = gemm_table<float>();
  const int64_t panel_size = (packed ? b.rows : kGemmDepth) * gemm.nr;
  const Scratch local(packed ? 0 : ceil_div(range.columns, gemm.nr) * panel_size * sizeof(float));
  const bool by_rows = a.column_stride == 1;
  const Scratch gather(by_rows ? 0 : kGemmScratch * sizeof(float));

  GemmRun run{};
  GemmPiece piece{};
  auto panels =
      make_panels(packed ? packed + range.j * b.rows : local.as<float>(), panel_size, range.j, range.columns, &run, 1);
  // By rows at most kBlockRows; by columns at most kGemmDepth, and then those of the next step.
  const float* from[2 * kGemmDepth];
  static_assert(kBlockRows <= kGemmDepth);
  float* to[kBlockRows];
  float step_sums[kBlockRows];
  for (int64_t i = 0; i < range.rows; ++i) to[i] = out.at(range.i + i, 0);
  if (by_rows)
    for (int64_t i = 0; i < range.rows; ++i) from[i] = a.at(range.i + i, 0);

  const int64_t end = range.k + range.depth, step = depth_step(range.depth);
  for (int64_t k = range.k; k < end; k += step) {
    const int64_t depth = std::min(step, end - k);
    run = {0, packed ? k : 0, depth};
    piece = {k, depth};
    const int64_t next_depth = by_rows ? 0 : std::min(step, end - k - depth);
    if (!by_rows)
      for (int64_t i = 0; i < depth + next_depth; ++i) from[i] = a.at(range.i, k + i);
    if (!packed) pack_panels(local.as<float>(), panel_size, b, k, depth, range.j, range.columns);
    const GemmBlock<float> block{from,
                                 range.rows,
                                 depth,
                                 &piece,
                                 1,
                                 to,
                                 panels.data(),
                                 static_cast<int64_t>(panels.size()),
                                 k > range.k,
                                 gather.as<float>(),
                                 k == 0 ? bias : nullptr,
                                 sums != nullptr ? step_sums : nullptr,
                                 from + depth,
                                 next_depth};
    (by_rows ? gemm.by_rows : gemm.by_columns)(block);
    for (int64_t i = 0; sums != nullptr && i < range.rows; ++i)
      sums[range.i + i] = static_cast<double>(step_sums[i]) + (k > range.k ? sums[range.i + i] : 0.0);
  }
}

template <>
void Product<double>::block(const Matrix<double>& out, const BlockRange& range, double*) const {
  const bool a_rows = a.column_stride == 1, b_rows = b.column_stride == 1;
  cblas_dgemm(CblasRowMajor, a_rows ? CblasNoTrans : CblasTrans, b_rows ? CblasNoTrans : CblasTrans,
              static_cast<int>(range.rows), static_cast<int>(range.columns), static_cast<int>(range.depth), 1.0,
              a.at(range.i, range.k), static_cast<int>(a_rows ? a.row_stride : a.column_stride), b.at(range.k, range.j),
              static_cast<int>(b_rows ? b.row_stride : b.column_stride), 0.0, out.at(range.i, range.j),
              static_cast<int>(out.row_stride));
}

/// Elements of B that may be packed again and again before they are packed once for all tasks.
constexpr int64_t kSharedPacking = 1 << 20;

/// Calls compute(range) for every block of C, in parallel.
template <class F>
void for_each_block(const BlockSize& size, int64_t rows, int64_t columns, F&& compute) {
  const int64_t across = ceil_div(columns, size.columns);
  parallel_pieces(ceil_div(rows, size.rows) * across, [&](int64_t t) {
    const int64_t i = t / across * size.rows, j = t % across * size.columns;
    compute(BlockRange{i, std::min(size.rows, rows - i), j, std::min(size.columns, columns - j), 0, 0});
  });
}

template <class T>
void run_product(Product<T> p, int64_t wanted) {
  const int64_t rows = p.c.rows, columns = p.c.columns, depth = p.a.columns;
  const int64_t mr = gemm_table<T>().mr, nr = gemm_table<T>().nr;
  // Long sums are cut before the blocks get small: small blocks read A and B more often.
  const int64_t coarse = ceil_div(rows, kBlockRows) * ceil_div(columns, kBlockColumns);
  const int64_t pieces = std::clamp<int64_t>(std::min(depth / 1024, wanted / coarse), 1, 16);
  // BLAS may sum a small block in another order than a large one: its blocks follow the shape alone.
  constexpr bool own = std::is_same_v<T, float>;
  const BlockSize size =
      choose_block(rows, columns, depth, mr, nr, ceil_div(own ? std::min(wanted, enough_blocks()) : wanted, pieces),
                   own ? threads() : 1);
  // Blocks below each other read the same columns of B. To pack them once for all takes another round of tasks, which
  // pays off only when there is much to pack.
  const int64_t repeated = ceil_div(rows, size.rows) * depth * columns;
  const bool share = std::is_same_v<T, float> && rows > (pieces > 1 ? 1 : 2) * size.rows && repeated > kSharedPacking;
  const int64_t panels = ceil_div(columns, nr);
  const Scratch packed(share ? panels * nr * depth * sizeof(T) : 0);
  if constexpr (std::is_same_v<T, float>) {
    if (share) {
      constexpr int64_t kColumns = 256;
      const int64_t steps = ceil_div(depth, kGemmDepth);
      parallel_pieces(ceil_div(columns, kColumns) * steps, [&](int64_t t) {
        const int64_t j = t / steps * kColumns, k = t % steps * kGemmDepth;
        pack_panels(packed.as<T>() + j * depth + k * nr, depth * nr, p.b, k, std::min(kGemmDepth, depth - k), j,
                    std::min(kColumns, columns - j));
      });
      p.packed = packed.as<T>();
    }
  }

  // A long sum of one number after the other: in f64, from one step of the depth to the next.
  const Scratch row_sums(p.row_sums ? pieces * rows * sizeof(double) : 0);
  const auto add_row_sums = [&] {
    for (int64_t i = 0; p.row_sums && i < rows; ++i) {
      double sum = row_sums.as<double>()[i];
      for (int64_t s = 1; s < pieces; ++s) sum += row_sums.as<double>()[s * rows + i];
      p.row_sums[i] = static_cast<T>(sum);
    }
  };

  if (pieces > 1) {
    const int64_t step = ceil_div(depth, pieces);
    const Scratch partial(pieces * rows * columns * sizeof(T));
    parallel_pieces(pieces, [&](int64_t s) {
      const Matrix<T> sum = dense(partial.as<T>() + s * rows * columns, rows, columns);
      for_each_block(size, rows, columns, [&](BlockRange r) {
        r.k = s * step, r.depth = std::min(step, depth - r.k);
        p.block(sum, r, p.row_sums && r.j == 0 ? row_sums.as<double>() + s * rows : nullptr);
      });
    });
    parallel_ranges(rows, std::max<int64_t>(1, 4096 / columns), [&](int64_t i0, int64_t i1) {
      for (int64_t i = i0; i < i1; ++i) {
        T* const to = p.c.at(i, 0);
        std::copy_n(partial.as<T>() + i * columns, columns, to);
        for (int64_t s = 1; s < pieces; ++s) {
          const T* const from = partial.as<T>() + (s * rows + i) * columns;
          for (int64_t j = 0; j < columns; ++j) to[j] += from[j];
        }
      }
      p.finish({i0, i1 - i0, 0, columns, 0, depth});
    });
    add_row_sums();
    return;
  }

  for_each_block(size, rows, columns, [&](BlockRange r) {
    r.depth = depth;
    p.block(p.c, r, p.row_sums && r.j == 0 ? row_sums.as<double>() : nullptr);
    p.finish(r);
  });
  add_row_sums();
}

/// Whether the block kernels can read the matrix where it lies.
template <class T>
bool readable(const Matrix<T>& m) {
  const int64_t pitch = m.column_stride == 1 ? m.row_stride : m.column_stride;
  if (m.column_stride != 1 && m.row_stride != 1) return false;
  if constexpr (std::is_same_v<std::remove_const_t<T>, float>) return true;
  return pitch >= (m.column_stride == 1 ? m.columns : m.rows) && pitch <= INT_MAX;  // what BLAS demands
}

/// C = A B for any strides, in about `wanted` tasks or more if it is large. What else `p` asks for needs a dense C.
template <class T>
void product(Product<T> p, int64_t wanted) {
  Matrix<T> c = p.c.tidy();
  Matrix<const T> a = p.a.tidy(), b = p.b.tidy();
  if (c.column_stride != 1 && c.row_stride == 1) {
    TACIT_CHECK(!p.bias && !p.gelu && !p.factor && !p.row_sums, "[matmul] a linear map needs a dense result");
    return product(Product<T>{c.transposed(), b.transposed(), a.transposed()}, wanted);
  }
  if (a.columns == 0) {
    for (int64_t i = 0; i < c.rows; ++i)
      for (int64_t j = 0; j < c.columns; ++j) *c.at(i, j) = T(0);
    return;
  }
  TACIT_CHECK(std::max({c.rows, c.columns, a.columns}) <= INT_MAX, "[matmul] a dimension is above 2^31 - 1");
  const bool direct = c.column_stride == 1 && c.row_stride >= c.columns;
  const Scratch c_copy(direct ? 0 : c.rows * c.columns * sizeof(T));
  const Scratch a_copy(readable(a) ? 0 : a.rows * a.columns * sizeof(T));
  const Scratch b_copy(readable(b) ? 0 : b.rows * b.columns * sizeof(T));
  const auto make_readable = [](const Matrix<const T>& m, const Scratch& memory) {
    if (readable(m)) return m;
    copy_matrix(dense(memory.as<T>(), m.rows, m.columns), m);
    return dense<const T>(memory.as<T>(), m.rows, m.columns);
  };
  p.c = direct ? c : dense(c_copy.as<T>(), c.rows, c.columns);
  p.a = make_readable(a, a_copy), p.b = make_readable(b, b_copy);
  run_product(p, wanted);
  if (!direct) copy_matrix(c, p.c);
}

template <class T>
Matrix<T> last_two(const View& v) {
  return {v.ptr<T>(), v.shape[-2], v.shape[-1], v.strides[-2], v.strides[-1]};
}

template <class T>
void batched(const View& out, const View& a, const View& b) {
  Matrix<T> c = last_two<T>(out);
  Matrix<const T> p = last_two<const T>(a), q = last_two<const T>(b);
  // Leading dimensions that share B and lie below each other in A and C are more rows of one product.
  int leading = out.shape.rank() - 2;
  for (; leading > 0; --leading) {
    const int d = leading - 1;
    const bool below = out.strides[d] == c.rows * c.row_stride && a.strides[d] == p.rows * p.row_stride;
    if (out.shape[d] != 1 && !(b.strides[d] == 0 && below)) break;
    c.rows *= out.shape[d], p.rows *= out.shape[d];
  }
  int64_t count = 1;
  for (int d = 0; d < leading; ++d) count *= out.shape[d];
  parallel_pieces(count, [&](int64_t item) {
    int64_t c0 = 0, p0 = 0, q0 = 0;
    for (int d = leading - 1; d >= 0; --d) {
      const int64_t i = item % out.shape[d];
      item /= out.shape[d];
      c0 += i * out.strides[d], p0 += i * a.strides[d], q0 += i * b.strides[d];
    }
    Matrix<T> ci = c;
    Matrix<const T> pi = p, qi = q;
    ci.data += c0, pi.data += p0, qi.data += q0;
    product(Product<T>{ci, pi, qi}, ceil_div(kEnoughBlocks, count));
  });
}

}  // namespace

void CpuBackend::matmul(const View& out, const View& a, const View& b) {
  if (out.numel() == 0) return;
  visit_floating("matmul", out.dtype, [&](auto zero) { batched<decltype(zero)>(out, a, b); });
}

void CpuBackend::linear(const LinearArgs& a) {
  if (a.y.dtype != f32 || a.x.shape[1] == 0 || (a.bias.defined() && a.bias.strides[0] != 1)) return Backend::linear(a);
  Product<float> p{last_two<float>(a.y), last_two<const float>(a.x), last_two<const float>(a.w)};
  p.bias = a.bias.ptr<const float>();
  p.gelu = a.gelu;
  p.derivative = a.derivative.ptr<float>();
  p.factor = a.factor.ptr<const float>();
  product(p, kEnoughBlocks);
}

void CpuBackend::linear_dw(const View& dw, const View& db, const View& dy, const View& x) {
  // Rows or columns of one element are read in the other direction, which makes no sums.
  if (dw.dtype != f32 || dy.shape[0] < 2 || dy.shape[1] < 2 || !dy.contiguous() || !dw.contiguous() ||
      db.strides[0] != 1)
    return Backend::linear_dw(dw, db, dy, x);
  Product<float> p{last_two<float>(dw), last_two<const float>(dy).transposed(), last_two<const float>(x)};
  p.row_sums = db.ptr<float>();
  product(p, kEnoughBlocks);
}

}  // namespace tacit::cpu
