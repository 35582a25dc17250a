// Batch and layer normalisation. Rows are cut into blocks by the shape alone; a block's statistics come from two passes
// (mean, then squares around it) and blocks merge in order by Chan's formula, so that a large mean costs no digits.
#include "backends/cpu/kernels/norm.h"

#include <cmath>

#include "backends/cpu/backend.h"
#include "backends/cpu/kernels/reduce.h"
#include "backends/cpu/loops.h"
#include "backends/cpu/memory.h"

namespace tacit::cpu {

namespace {

const NormF32& table(float) { return norm_f32(); }
const NormF64& table(double) { return norm_f64(); }
const ReduceF32& reductions(float) { return reduce_f32(); }
const ReduceF64& reductions(double) { return reduce_f64(); }

int64_t rows_a_block(const Rows& rows) { return std::max<int64_t>(1, kPiece / rows.size); }
int64_t blocks_of(const Rows& rows) { return (rows.count + rows_a_block(rows) - 1) / rows_a_block(rows); }

/// Calls f(first row, rows, block) for every block, in parallel.
template <class F>
void for_blocks(const Rows& rows, F&& f) {
  const int64_t step = rows_a_block(rows);
  parallel_pieces(blocks_of(rows), [&](int64_t b) { f(b * step, std::min(step, rows.count - b * step), b); });
}

/// Adds block after block to the first.
void add_blocks(double* sums, int64_t blocks, int64_t columns) {
  for (int64_t b = 1; b < blocks; ++b)
    for (int64_t c = 0; c < columns; ++c) sums[c] += sums[b * columns + c];
}

template <class T>
T* or_null(const View& v, int64_t offset = 0) {
  return v.defined() ? v.ptr<T>() + offset : nullptr;
}

}  // namespace

void CpuBackend::moments(const View& mean, const View& var, const View& x) {
  const Rows rows(x.shape);
  if (rows.count == 0) return;
  const int64_t C = rows.size, blocks = blocks_of(rows);
  visit_floating("moments", x.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Scratch sums(static_cast<size_t>(2 * blocks * C) * sizeof(double));
    const Scratch centres(static_cast<size_t>(blocks * C) * sizeof(T));
    double* const block_mean = sums.as<double>();
    double* const block_m2 = block_mean + blocks * C;
    for_blocks(rows, [&](int64_t first, int64_t count, int64_t b) {
      const T* const in = x.ptr<T>() + first * C;
      double* const m = block_mean + b * C;
      double* const m2 = block_m2 + b * C;
      T* const centre = centres.as<T>() + b * C;
      std::fill(m, m + C, 0.0);
      std::fill(m2, m2 + C, 0.0);
      reductions(zero).column_sum(in, count, C, C, m);
      const auto n = static_cast<double>(count);
      for (int64_t c = 0; c < C; ++c) centre[c] = static_cast<T>(m[c] /= n);
      table(zero).centred_squares(in, count, C, centre, m2);
      for (int64_t c = 0; c < C; ++c) {  // the centre was rounded to T
        const double rest = m[c] - static_cast<double>(centre[c]);
        m2[c] = std::max(0.0, m2[c] - n * rest * rest);
      }
    });
    const int64_t step = rows_a_block(rows);
    for (int64_t c = 0; c < C; ++c) {
      double n = 0, m = 0, m2 = 0;
      for (int64_t b = 0; b < blocks; ++b) {
        const auto count = static_cast<double>(std::min(step, rows.count - b * step));
        const double delta = block_mean[b * C + c] - m;
        m2 += block_m2[b * C + c] + delta * delta * n * count / (n + count);
        m += delta * count / (n + count);
        n += count;
      }
      mean.ptr<T>()[c] = static_cast<T>(m);
      var.ptr<T>()[c] = static_cast<T>(m2 / n);
    }
  });
}

void CpuBackend::batch_norm(const BatchNormArgs& a) {
  const Rows rows(a.x.shape);
  const int64_t C = rows.size;
  visit_floating("batch_norm", a.x.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Scratch scratch(static_cast<size_t>(C) * sizeof(T));
    T* const scale = scratch.as<T>();
    for (int64_t c = 0; c < C; ++c) scale[c] = a.gamma.ptr<T>()[c] * a.rstd.ptr<T>()[c];
    for_blocks(rows, [&](int64_t first, int64_t count, int64_t) {
      const int64_t at = first * C;
      table(zero).apply(a.y.ptr<T>() + at, a.x.ptr<T>() + at, or_null<T>(a.residual, at), count, C, a.mean.ptr<T>(),
                        scale, a.beta.ptr<T>(), a.relu);
    });
  });
}

void CpuBackend::batch_norm_grad(const BatchNormGradArgs& a) {
  const Rows rows(a.x.shape);
  const int64_t C = rows.size, blocks = blocks_of(rows);
  visit_floating("batch_norm_grad", a.x.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Scratch sums(static_cast<size_t>(2 * std::max<int64_t>(blocks, 1) * C) * sizeof(double));
    double* const sum_g = sums.as<double>();
    double* const sum_gx = sum_g + std::max<int64_t>(blocks, 1) * C;
    std::fill(sum_g, sum_g + 2 * std::max<int64_t>(blocks, 1) * C, 0.0);
    const View& mask = a.relu ? a.y : View();
    for_blocks(rows, [&](int64_t first, int64_t count, int64_t b) {
      const int64_t at = first * C;
      table(zero).grad_sums(a.dy.ptr<T>() + at, a.x.ptr<T>() + at, or_null<const T>(mask, at), count, C,
                            a.mean.ptr<T>(), sum_g + b * C, sum_gx + b * C);
    });
    add_blocks(sum_g, blocks, C);
    add_blocks(sum_gx, blocks, C);
    const Scratch factors(static_cast<size_t>(3 * C) * sizeof(T));
    T* const scale = factors.as<T>();
    T* const c1 = scale + C;
    T* const c2 = c1 + C;
    const double n = std::max<double>(1, static_cast<double>(rows.count));
    for (int64_t c = 0; c < C; ++c) {
      const auto rstd = static_cast<double>(a.rstd.ptr<T>()[c]);
      const double dgamma = sum_gx[c] * rstd;
      if (a.dbeta.defined()) a.dbeta.ptr<T>()[c] = static_cast<T>(sum_g[c]);
      if (a.dgamma.defined()) a.dgamma.ptr<T>()[c] = static_cast<T>(dgamma);
      scale[c] = static_cast<T>(static_cast<double>(a.gamma.ptr<T>()[c]) * rstd);
      c1[c] = static_cast<T>(a.training ? sum_g[c] / n : 0);
      c2[c] = static_cast<T>(a.training ? rstd * dgamma / n : 0);
    }
    if (!a.dx.defined() && !a.dresidual.defined()) return;
    for_blocks(rows, [&](int64_t first, int64_t count, int64_t) {
      const int64_t at = first * C;
      table(zero).grad_apply(or_null<T>(a.dx, at), or_null<T>(a.dresidual, at), a.dy.ptr<T>() + at, a.x.ptr<T>() + at,
                             or_null<const T>(mask, at), count, C, a.mean.ptr<T>(), scale, c1, c2);
    });
  });
}

void CpuBackend::layer_norm(const LayerNormArgs& a) {
  const Rows rows(a.x.shape);
  visit_floating("layer_norm", a.x.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_blocks(rows, [&](int64_t first, int64_t count, int64_t) {
      for (int64_t r = first; r < first + count; ++r)
        table(zero).layer_row(a.y.ptr<T>() + r * rows.size, a.mean.ptr<T>() + r, a.rstd.ptr<T>() + r,
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
      if (sums_wanted) table(zero).layer_grad_sums(dy, x, mean, rstd, count, D, dgamma + b * D, dbeta + b * D);
      if (!a.dx.defined()) return;
      for (int64_t r = 0; r < count; ++r)
        table(zero).layer_row_grad(a.dx.ptr<T>() + (first + r) * D, dy + r * D, x + r * D, D, mean[r], rstd[r],
                                   a.gamma.ptr<T>());
    });
    if (!sums_wanted) return;
    add_blocks(dgamma, blocks, D);
    add_blocks(dbeta, blocks, D);
    for (int64_t d = 0; d < D; ++d) {
      if (a.dgamma.defined()) a.dgamma.ptr<T>()[d] = static_cast<T>(dgamma[d]);
      if (a.dbeta.defined()) a.dbeta.ptr<T>()[d] = static_cast<T>(dbeta[d]);
    }
  });
}

}  // namespace tacit::cpu
