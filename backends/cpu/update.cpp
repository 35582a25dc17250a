// Kernels over many tensors at once: all of them are cut into pieces, one parallel loop takes every piece.
#include "backends/cpu/kernels/update.h"

#include <cmath>

#include "backends/cpu/backend.h"
#include "backends/cpu/kernels/reduce.h"
#include "backends/cpu/loops.h"
#include "backends/cpu/memory.h"

namespace tacit::cpu {

namespace {

constexpr int64_t kStretch = 16384;

struct Piece {
  int64_t tensor, begin, count;
};

/// Calls f(piece, number) for every piece of every tensor, in parallel; returns how many there are.
template <class F>
int64_t for_tensor_pieces(std::span<const View> xs, const Scratch& scratch, int64_t pieces, F&& f) {
  Piece* const list = scratch.as<Piece>();
  int64_t used = 0;
  for (size_t t = 0; t < xs.size(); ++t) {
    const int64_t n = xs[t].numel();
    for (int64_t at = 0; at < n; at += kStretch)
      list[used++] = {static_cast<int64_t>(t), at, std::min(kStretch, n - at)};
  }
  parallel_pieces(pieces, [&](int64_t i) { f(list[i], i); });
  return used;
}

int64_t count_pieces(std::span<const View> xs) {
  int64_t pieces = 0;
  for (const View& x : xs) pieces += (x.numel() + kStretch - 1) / kStretch;
  return pieces;
}

template <class F>
void for_all(std::span<const View> xs, F&& f) {
  const int64_t pieces = count_pieces(xs);
  const Scratch scratch(static_cast<size_t>(pieces) * sizeof(Piece));
  for_tensor_pieces(xs, scratch, pieces, f);
}

}  // namespace

void CpuBackend::sum_squares(const View& out, std::span<const View> xs) {
  const int64_t pieces = count_pieces(xs);
  const Scratch sums(static_cast<size_t>(pieces) * sizeof(double));
  double* const partial = sums.as<double>();
  for_all(xs, [&](const Piece& p, int64_t i) {
    const View& x = xs[static_cast<size_t>(p.tensor)];
    visit_floating("sum_squares", x.dtype, [&](auto zero) {
      partial[i] = reduce_table(zero).sum_squares(x.ptr<decltype(zero)>() + p.begin, p.count);
    });
  });
  double total = 0;
  for (int64_t i = 0; i < pieces; ++i) total += partial[i];
  *out.ptr<double>() = total;
}

void CpuBackend::lerp(std::span<const View> targets, std::span<const View> sources, const View& weight) {
  const double w = *weight.ptr<double>();
  for_all(targets, [&](const Piece& p, int64_t) {
    const auto t = static_cast<size_t>(p.tensor);
    visit_floating("lerp", targets[t].dtype, [&](auto zero) {
      using T = decltype(zero);
      update_table(zero).lerp(targets[t].ptr<T>() + p.begin, sources[t].ptr<T>() + p.begin, p.count, w);
    });
  });
}

void CpuBackend::update(const SgdArgs& a) {
  const double lr = *a.hyper.ptr<double>();
  for_all(a.params, [&](const Piece& p, int64_t) {
    const auto t = static_cast<size_t>(p.tensor);
    visit_floating("sgd", a.params[t].dtype, [&](auto zero) {
      using T = decltype(zero);
      T* const buffer = a.momentum != 0 ? a.momentum_buffers[t].ptr<T>() + p.begin : nullptr;
      update_table(zero).sgd(a.params[t].ptr<T>() + p.begin, a.grads[t].ptr<T>() + p.begin, buffer, p.count, lr,
                             a.momentum, a.weight_decay, a.nesterov);
    });
  });
}

void CpuBackend::update(const AdamWArgs& a) {
  const double lr = a.hyper.ptr<double>()[0], bias1 = a.hyper.ptr<double>()[1], bias2 = a.hyper.ptr<double>()[2];
  for_all(a.params, [&](const Piece& p, int64_t) {
    const auto t = static_cast<size_t>(p.tensor);
    visit_floating("adamw", a.params[t].dtype, [&](auto zero) {
      using T = decltype(zero);
      update_table(zero).adamw(a.params[t].ptr<T>() + p.begin, a.grads[t].ptr<T>() + p.begin,
                               a.exp_avg[t].ptr<T>() + p.begin, a.exp_avg_sq[t].ptr<T>() + p.begin, p.count, a.beta1,
                               a.beta2, a.eps, 1 - lr * a.weight_decay, lr / bias1, std::sqrt(bias2));
    });
  });
}

void CpuBackend::update(const LarsArgs& a) {
  const double lr = *a.hyper.ptr<double>();
  const size_t tensors = a.params.size();
  const int64_t pieces = a.adapt ? count_pieces(a.params) : 0;
  const Scratch scratch((static_cast<size_t>(2 * pieces) + tensors) * sizeof(double));
  double* const ratio = scratch.as<double>();
  double* const squares = ratio + tensors;  // {of p, of grad + weight_decay p} of each piece
  if (a.adapt)
    for_all(a.params, [&](const Piece& p, int64_t i) {
      const auto t = static_cast<size_t>(p.tensor);
      visit_floating("lars", a.params[t].dtype, [&](auto zero) {
        using T = decltype(zero);
        update_table(zero).lars_squares(a.params[t].ptr<T>() + p.begin, a.grads[t].ptr<T>() + p.begin, p.count,
                                        a.weight_decay, squares + 2 * i);
      });
    });
  const double* of_piece = squares;
  for (size_t t = 0; t < tensors; ++t) {
    ratio[t] = 1;
    if (!a.adapt) continue;
    double p = 0, d = 0;
    for (int64_t at = 0; at < a.params[t].numel(); at += kStretch, of_piece += 2) {
      p += of_piece[0];
      d += of_piece[1];
    }
    if (p > 0 && d > 0) ratio[t] = a.eta * std::sqrt(p) / std::sqrt(d);
  }
  for_all(a.params, [&](const Piece& p, int64_t) {
    const auto t = static_cast<size_t>(p.tensor);
    visit_floating("lars", a.params[t].dtype, [&](auto zero) {
      using T = decltype(zero);
      update_table(zero).lars(a.params[t].ptr<T>() + p.begin, a.grads[t].ptr<T>() + p.begin,
                              a.momentum_buffers[t].ptr<T>() + p.begin, p.count, a.lr_in_buffer ? 1 : lr, a.momentum,
                              a.weight_decay, a.lr_in_buffer ? lr * ratio[t] : ratio[t]);
    });
  });
}

}  // namespace tacit::cpu
