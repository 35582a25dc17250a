// Batch and layer normalisation. Rows are cut into blocks by the shape alone; a block's statistics come from two passes
// (mean, then squares around it) and blocks merge in order (moments.h), so that a large mean costs no digits.
#include "backends/cpu/kernels/norm.h"

#include <cmath>

#include "backends/cpu/backend.h"
#include "backends/cpu/kernels/reduce.h"
#include "backends/cpu/loops.h"
#include "backends/cpu/memory.h"
#include "backends/cpu/moments.h"

namespace tacit::cpu {

namespace {

/// Rows of a block. Not fewer than 8, or the partial sums would be as large as x.
int64_t rows_a_block(const Rows& rows) { return std::max<int64_t>(8, kPiece / std::max<int64_t>(1, rows.size)); }
int64_t blocks_of(const Rows& rows) { return (rows.count + rows_a_block(rows) - 1) / rows_a_block(rows); }

/// Calls f(first row, rows, block) for every block, in parallel.
template <class F>
void for_blocks(const Rows& rows, F&& f) {
  const int64_t step = rows_a_block(rows);
  parallel_pieces(blocks_of(rows), [&](int64_t b) { f(b * step, std::min(step, rows.count - b * step), b); });
}

/// Few channels: `fold` rows of x are read as one row of `wide` = fold * C columns, which vectors divide. Each of the
/// fold places in a wide row has its own partial sums; together with the blocks they make up the parts of a sum.
struct Folded {
  explicit Folded(const Rows& rows) : rows(rows), fold(1) {
    const int64_t C = rows.size;
    if (C >= 64 || C < 1) return;
    while (fold * C % 16 != 0) fold *= 2;
    while (fold * C < 64) fold *= 2;
  }
  int64_t wide() const { return fold * rows.size; }
  int64_t parts() const { return std::max<int64_t>(1, blocks_of(rows)) * fold; }
  int64_t part_rows(int64_t part) const {
    const int64_t step = rows_a_block(rows), count = std::min(step, rows.count - part / fold * step);
    return count / fold + (part % fold < count % fold ? 1 : 0);
  }
  /// Calls f(offset in x, wide rows, columns) for the rows of a block: once, or twice if a part of a wide row is left.
  template <class F>
  void for_wide(int64_t first, int64_t count, F&& f) const {
    const int64_t at = first * rows.size, whole = count / fold, rest = count % fold;
    if (whole > 0) f(at, whole, wide());
    if (rest > 0) f(at + whole * wide(), int64_t{1}, rest * rows.size);
  }
  /// to[0 … wide) = from[0 … C), again and again.
  template <class T>
  void repeat(T* to, const T* from) const {
    for (int64_t k = 0; k < fold; ++k) std::copy_n(from, rows.size, to + k * rows.size);
  }

  Rows rows;
  int64_t fold;
};

template <class T>
T* or_null(const View& v, int64_t offset = 0) {
  return v.defined() ? v.ptr<T>() + offset : nullptr;
}

}  // namespace

void CpuBackend::moments(const View& mean, const View& var, const View& x) {
  const Folded folded{Rows(x.shape)};
  if (folded.rows.count == 0) return;
  const int64_t C = folded.rows.size, wide = folded.wide(), parts = folded.parts();
  visit_floating("moments", x.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Scratch sums(static_cast<size_t>(2 * parts * C) * sizeof(double));
    const Scratch centres(static_cast<size_t>(parts * C) * sizeof(T));
    double* const part_mean = sums.as<double>();
    double* const part_m2 = part_mean + parts * C;
    for_blocks(folded.rows, [&](int64_t first, int64_t count, int64_t b) {
      double* const m = part_mean + b * wide;
      double* const m2 = part_m2 + b * wide;
      T* const centre = centres.as<T>() + b * wide;
      std::fill_n(m, wide, 0.0);
      std::fill_n(m2, wide, 0.0);
      folded.for_wide(first, count, [&](int64_t at, int64_t n, int64_t columns) {
        reduce_table(zero).column_sum(x.ptr<T>() + at, n, columns, columns, m);
      });
      for (int64_t k = 0; k < folded.fold; ++k) {
        const auto n = static_cast<double>(std::max<int64_t>(1, folded.part_rows(b * folded.fold + k)));
        for (int64_t i = k * C; i < (k + 1) * C; ++i) centre[i] = static_cast<T>(m[i] /= n);
      }
      folded.for_wide(first, count, [&](int64_t at, int64_t n, int64_t columns) {
        norm_table(zero).centred_squares(x.ptr<T>() + at, n, columns, centre, m2);
      });
      for (int64_t k = 0; k < folded.fold; ++k) {
        const auto n = static_cast<double>(folded.part_rows(b * folded.fold + k));
        for (int64_t i = k * C; i < (k + 1) * C; ++i) {  // the centre was rounded to T
          const double rest = m[i] - static_cast<double>(centre[i]);
          m2[i] = std::max(0.0, m2[i] - n * rest * rest);
        }
      }
    });
    merge_moments(mean.ptr<T>(), var.ptr<T>(), C, parts, part_mean, part_m2,
                  [&](int64_t part) { return folded.part_rows(part); });
  });
}

void CpuBackend::batch_norm(const BatchNormArgs& a) {
  const Folded folded{Rows(a.x.shape)};
  const int64_t C = folded.rows.size, wide = folded.wide();
  visit_floating("batch_norm", a.x.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Scratch scratch(static_cast<size_t>(3 * wide) * sizeof(T));
    T* const mean = scratch.as<T>();
    T* const scale = mean + wide;
    T* const shift = scale + wide;
    folded.repeat(mean, a.mean.ptr<T>());
    folded.repeat(shift, a.beta.ptr<T>());
    for (int64_t i = 0; i < wide; ++i) scale[i] = a.gamma.ptr<T>()[i % C] * a.rstd.ptr<T>()[i % C];
    for_blocks(folded.rows, [&](int64_t first, int64_t count, int64_t) {
      folded.for_wide(first, count, [&](int64_t at, int64_t n, int64_t columns) {
        norm_table(zero).apply(a.y.ptr<T>() + at, a.x.ptr<T>() + at, or_null<T>(a.residual, at), n, columns, mean,
                               scale, shift, a.relu);
      });
    });
  });
}

void CpuBackend::batch_norm_grad(const BatchNormGradArgs& a) {
  const Folded folded{Rows(a.x.shape)};
  const int64_t C = folded.rows.size, wide = folded.wide(), parts = folded.parts();
  visit_floating("batch_norm_grad", a.x.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Scratch sums(static_cast<size_t>(2 * parts * C) * sizeof(double));
    double* const sum_g = sums.as<double>();
    double* const sum_gx = sum_g + parts * C;
    std::fill_n(sum_g, 2 * parts * C, 0.0);
    const Scratch factors(static_cast<size_t>(5 * wide) * sizeof(T));
    T* const mean = factors.as<T>();
    T* const scale = mean + wide;
    T* const c1 = scale + wide;
    T* const c2 = c1 + wide;
    T* const shift = c2 + wide;
    folded.repeat(mean, a.mean.ptr<T>());
    for (int64_t i = 0; i < wide; ++i) scale[i] = a.gamma.ptr<T>()[i % C] * a.rstd.ptr<T>()[i % C];  // as in batch_norm
    if (a.beta.defined()) folded.repeat(shift, a.beta.ptr<T>());
    const auto mask = [&](int64_t at) { return ReluMask<T>{a.relu, or_null<const T>(a.y, at), scale, shift}; };
    for_blocks(folded.rows, [&](int64_t first, int64_t count, int64_t b) {
      folded.for_wide(first, count, [&](int64_t at, int64_t n, int64_t columns) {
        norm_table(zero).grad_sums(a.dy.ptr<T>() + at, a.x.ptr<T>() + at, mask(at), n, columns, mean, sum_g + b * wide,
                                   sum_gx + b * wide);
      });
    });
    add_parts(sum_g, parts, C);
    add_parts(sum_gx, parts, C);
    const double n = std::max<double>(1, static_cast<double>(folded.rows.count));
    for (int64_t c = 0; c < C; ++c) {
      const auto rstd = static_cast<double>(a.rstd.ptr<T>()[c]);
      const double dgamma = sum_gx[c] * rstd;
      if (a.dbeta.defined()) a.dbeta.ptr<T>()[c] = static_cast<T>(sum_g[c]);
      if (a.dgamma.defined()) a.dgamma.ptr<T>()[c] = static_cast<T>(dgamma);
      c1[c] = static_cast<T>(a.training ? sum_g[c] / n : 0);
      c2[c] = static_cast<T>(a.training ? rstd * dgamma / n : 0);
    }
    if (!a.dx.defined() && !a.dresidual.defined()) return;
    for (T* const factor : {c1, c2})
      for (int64_t i = C; i < wide; ++i) factor[i] = factor[i - C];
    for_blocks(folded.rows, [&](int64_t first, int64_t count, int64_t) {
      folded.for_wide(first, count, [&](int64_t at, int64_t count_wide, int64_t columns) {
        norm_table(zero).grad_apply(or_null<T>(a.dx, at), or_null<T>(a.dresidual, at), a.dy.ptr<T>() + at,
                                    a.x.ptr<T>() + at, mask(at), count_wide, columns, mean, scale, c1, c2);
      });
    });
  });
}

void CpuBackend::layer_norm(const LayerNormArgs& a) {
  const Rows rows(a.x.shape);
  visit_floating("layer_norm", a.x.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_blocks(rows, [&](int64_t first, int64_t count, int64_t) {
      for (int64_t r = first; r < first + count; ++r)
        norm_table(zero).layer_row(a.y.ptr<T>() + r * rows.size, a.mean.ptr<T>() + r, a.rstd.ptr<T>() + r,
                                   a.x.ptr<T>() + r * rows.size, rows.size, a.gamma.ptr<T>(), a.beta.ptr<T>(), a.eps);
    });
  });
}

void CpuBackend::layer_norm_grad(const LayerNormGradArgs& a) {
  const Rows rows(a.x.shape);
  const int64_t D = rows.size, blocks = std::max<int64_t>(blocks_of(rows), 1);
  const bool sums_wanted = a.dgamma.defined() || a.dbeta.defined();
  visit_floating("layer_norm_grad", a.x.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Scratch sums(sums_wanted ? static_cast<size_t>(2 * blocks * D) * sizeof(double) : 0);
    double* const dgamma = sums.as<double>();
    double* const dbeta = dgamma + blocks * D;
    if (sums_wanted) std::fill(dgamma, dgamma + 2 * blocks * D, 0.0);
    for_blocks(rows, [&](int64_t first, int64_t count, int64_t b) {
      const T* const dy = a.dy.ptr<T>() + first * D;
      const T* const x = a.x.ptr<T>() + first * D;
      const T* const mean = a.mean.ptr<T>() + first;
      const T* const rstd = a.rstd.ptr<T>() + first;
      if (sums_wanted) norm_table(zero).layer_grad_sums(dy, x, mean, rstd, count, D, dgamma + b * D, dbeta + b * D);
      if (!a.dx.defined()) return;
      for (int64_t r = 0; r < count; ++r)
        norm_table(zero).layer_row_grad(a.dx.ptr<T>() + (first + r) * D, dy + r * D, x + r * D, D, mean[r], rstd[r],
                                        a.gamma.ptr<T>());
    });
    if (!sums_wanted) return;
    add_parts(dgamma, blocks, D);
    add_parts(dbeta, blocks, D);
    for (int64_t d = 0; d < D; ++d) {
      if (a.dgamma.defined()) a.dgamma.ptr<T>()[d] = static_cast<T>(dgamma[d]);
      if (a.dbeta.defined()) a.dbeta.ptr<T>()[d] = static_cast<T>(dbeta[d]);
    }
  });
}

}  // namespace tacit::cpu
