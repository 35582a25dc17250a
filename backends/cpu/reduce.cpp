// Reductions. The input becomes [kept][reduced] runs of rows or of columns; long sums are cut into pieces by the shape,
// their partial results kept in double and added in order. Argmax, argmin and top-k work on one row at a time.
#include "backends/cpu/kernels/reduce.h"

#include <limits>

#include "backends/cpu/backend.h"
#include "backends/cpu/loops.h"
#include "backends/cpu/memory.h"

namespace tacit::cpu {

namespace {

/// The kept and the reduced dimensions apart, each with merged neighbours.
struct Plan {
  Plan(const View& out, const View& in)
      : kept(shape_of(out, in, true), {&out.strides, &in.strides}),
        reduced(shape_of(out, in, false), {&out.strides, &in.strides}) {}
  static Shape shape_of(const View& out, const View& in, bool keep) {
    Shape shape = in.shape;
    for (int d = 0; d < shape.rank(); ++d)
      if ((out.shape[d] == 1) == keep) shape[d] = 1;
    return shape;
  }
  MergedLoop<2> kept, reduced;  // operands: out, in
};

template <class T>
double partial(ReduceOp op, const T* x, int64_t n, int64_t stride) {
  if (op == ReduceOp::Max) return static_cast<double>(reduce_table(T()).max(x, n, stride));
  if (op == ReduceOp::Min) return static_cast<double>(reduce_table(T()).min(x, n, stride));
  return reduce_table(T()).sum(x, n, stride);
}

double combine(ReduceOp op, double a, double b) {
  if (op == ReduceOp::Max || op == ReduceOp::Min) return beats(op, b, a) ? b : a;
  return a + b;
}

/// Each output from rows of the innermost reduced dimension; every stretch of a row leaves one partial result.
template <class T>
void reduce_rows(ReduceOp op, T* y, const T* x, const Plan& plan, double scale) {
  const auto& kept = plan.kept;
  const auto& reduced = plan.reduced;
  const int64_t n = reduced.inner(), stride = reduced.strides[1][reduced.rank - 1];
  const int64_t parts = (n + kPiece - 1) / kPiece, per_output = reduced.rows() * parts;
  const int64_t outputs = kept.rows() * kept.inner();
  const auto stretch = [&](const T* from, int64_t s) {
    const int64_t begin = s % parts * kPiece;
    return partial(op, from + reduced.row(s / parts)[1] + begin * stride, std::min(kPiece, n - begin), stride);
  };
  const auto finish = [&](int64_t o, const T* from, const double* partials) {
    double total = partials ? partials[0] : stretch(from, 0);
    for (int64_t s = 1; s < per_output; ++s) total = combine(op, total, partials ? partials[s] : stretch(from, s));
    y[kept.element(o)[0]] = static_cast<T>(total * scale);
  };
  if (outputs * n * reduced.rows() < 2 * kPiece || outputs >= 64) {
    parallel_ranges(outputs, std::max<int64_t>(1, kPiece / (n * reduced.rows())), [&](int64_t begin, int64_t end) {
      for (int64_t o = begin; o < end; ++o) finish(o, x + kept.element(o)[1], nullptr);
    });
    return;
  }
  const Scratch scratch(static_cast<size_t>(outputs * per_output) * sizeof(double));
  double* const partials = scratch.as<double>();
  parallel_ranges(outputs * per_output, std::max<int64_t>(1, kPiece / n), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) partials[i] = stretch(x + kept.element(i / per_output)[1], i % per_output);
  });
  for (int64_t o = 0; o < outputs; ++o) finish(o, nullptr, partials + o * per_output);
}

/// Outputs side by side in memory: whole rows are added up, in pieces of rows.
template <class T>
void reduce_columns(T* y, const T* x, const Plan& plan, double scale) {
  const auto& kept = plan.kept;
  const auto& reduced = plan.reduced;
  const int64_t columns = kept.inner(), groups = kept.rows(), y_stride = kept.strides[0][kept.rank - 1];
  const int64_t inner = reduced.inner(), ld = reduced.strides[1][reduced.rank - 1], rows = reduced.rows() * inner;
  const int64_t rows_a_piece = std::max<int64_t>(1, kPiece / columns),
                pieces = (rows + rows_a_piece - 1) / rows_a_piece;
  const Scratch scratch(static_cast<size_t>(groups * pieces * columns) * sizeof(double));
  double* const all = scratch.as<double>();
  parallel_pieces(groups * pieces, [&](int64_t i) {
    double* const acc = all + i * columns;
    std::fill(acc, acc + columns, 0.0);
    const T* const from = x + kept.row(i / pieces)[1];
    const int64_t first = i % pieces * rows_a_piece, last = std::min(rows, first + rows_a_piece);
    for (int64_t r = first; r < last;) {  // stretches of rows at one distance
      const int64_t count = std::min(last - r, inner - r % inner);
      reduce_table(T()).column_sum(from + reduced.row(r / inner)[1] + r % inner * ld, count, columns, ld, acc);
      r += count;
    }
  });
  parallel_pieces(groups, [&](int64_t g) {
    double* const total = all + g * pieces * columns;
    add_parts(total, pieces, columns);
    T* const to = y + kept.row(g)[0];
    for (int64_t c = 0; c < columns; ++c) to[c * y_stride] = static_cast<T>(total[c] * scale);
  });
}

/// Calls f(row) for each row of the last dimension with the offsets of the three views, rows in parallel.
template <class F>
void for_rows(const View& a, const View& b, const View& c, F&& f) {
  if (c.shape.numel() == 0) return;
  Shape firsts = c.shape;  // the first element of each row
  firsts[-1] = 1;
  const MergedLoop<3> loop(firsts, {&a.strides, &b.strides, &c.strides});
  parallel_ranges(loop.rows() * loop.inner(), std::max<int64_t>(1, kPiece / c.shape[-1]),
                  [&](int64_t begin, int64_t end) {
                    for (int64_t r = begin; r < end; ++r) f(loop.element(r));
                  });
}

}  // namespace

void CpuBackend::reduce(ReduceOp op, const View& out, const View& in) {
  if (out.shape.numel() == 0) return;
  const Plan plan(out, in);
  const int64_t terms = in.shape.numel() / out.shape.numel();
  const bool adds = op == ReduceOp::Sum || op == ReduceOp::Mean;
  if (terms == 0) return fill(out, op == ReduceOp::Sum ? 0 : std::numeric_limits<double>::quiet_NaN());
  visit_floating("reduce", in.dtype, [&](auto zero) {
    using T = decltype(zero);
    const double scale = op == ReduceOp::Mean ? 1 / static_cast<double>(terms) : 1;
    const bool columns = adds && plan.kept.inner() > 1 && plan.kept.strides[1][plan.kept.rank - 1] == 1;
    if (columns)
      reduce_columns(out.ptr<T>(), in.ptr<T>(), plan, scale);
    else
      reduce_rows(op, out.ptr<T>(), in.ptr<T>(), plan, scale);
  });
}

void CpuBackend::arg_reduce(ReduceOp op, const View& index, const View& in) {
  const int64_t size = in.shape[-1], stride = in.strides[-1];
  View rows = index;  // with a last dimension of 1, as for_rows expects
  rows.shape = in.shape;
  rows.strides = in.strides;
  for (int d = 0; d < index.shape.rank(); ++d) rows.strides[d] = index.strides[d];
  visit_floating("arg_reduce", in.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_rows(rows, rows, in, [&](const auto& at) {
      const T* const x = in.ptr<T>() + at[2];
      int64_t best = 0;
      for (int64_t i = 1; i < size; ++i)
        if (beats(op, x[i * stride], x[best * stride])) best = i;
      index.ptr<int64_t>()[at[0]] = best;
    });
  });
}

// A sorted list of the k best so far; most elements do not beat its last and cost one comparison.
void CpuBackend::top_k(const View& values, const View& index, const View& in) {
  const int64_t k = values.shape[-1], size = in.shape[-1], stride = in.strides[-1];
  if (k == 0) return;
  visit_floating("top_k", in.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_rows(values, index, in, [&](const auto& at) {
      const T* const x = in.ptr<T>() + at[2];
      T* const v = values.ptr<T>() + at[0];
      int64_t* const place = index.ptr<int64_t>() + at[1];
      const int64_t sv = values.strides[-1], si = index.strides[-1];
      int64_t have = 0;
      for (int64_t i = 0; i < size; ++i) {
        const T value = x[i * stride];
        if (have == k && !beats(ReduceOp::Max, value, v[(k - 1) * sv])) continue;
        int64_t j = have < k ? have++ : k - 1;
        for (; j > 0 && beats(ReduceOp::Max, value, v[(j - 1) * sv]); --j) {
          v[j * sv] = v[(j - 1) * sv];
          place[j * si] = place[(j - 1) * si];
        }
        v[j * sv] = value;
        place[j * si] = i;
      }
    });
  });
}

}  // namespace tacit::cpu
