// Contrastive losses without their logits in memory: blocks make a tile of them at a time (tile_product.h), with a
// running maximum and sum (Milakov & Gimelshein 2018), and the gradient makes the same tiles again. A block follows
// kTile rows through a piece of the columns; the pieces, whose number depends on the shape only, merge in order.
#include "backends/cuda/backend.h"
#include "backends/cuda/combine.h"
#include "backends/cuda/tile_product.h"

namespace tacit::cuda {

namespace {

/// What a row has seen of its logits; the best is the first of the largest ones.
template <class T>
struct Seen {
  T largest;
  double sum;  ///< of exp(logit - largest)
  int64_t best;
  TACIT_HD static Seen nothing() { return {static_cast<T>(-__builtin_inf()), 0, -1}; }
  TACIT_HD void add(const Seen& other) {
    if (other.best < 0) return;
    const bool takes =
        best < 0 || beats(ReduceOp::Max, other.largest, largest) || (other.largest == largest && other.best < best);
    const Seen high = takes ? other : *this, low = takes ? *this : other;
    const double shrink = low.best < 0 ? 0.0 : static_cast<double>(fast_exp(low.largest - high.largest));
    *this = {high.largest, high.sum + low.sum * shrink, high.best};
  }
};

/// The rows, their candidates and what is asked of them (see ContrastArgs).
template <class T>
struct Candidates {
  const T *a, *b, *positive;
  const int64_t* labels;
  int64_t rows, columns, size, columns_a_piece;
  T scale;
  bool among_themselves;

  TACIT_HD int64_t first_label() const { return positive != nullptr ? 1 : 0; }
  TACIT_HD bool counts(int64_t i, int64_t j) const { return i < rows && j < columns && !(among_themselves && i == j); }
  /// Row i's similarity with its positive.
  __device__ T positive_logit(int64_t i) const {
    double dot = 0;
    for (int64_t d = 0; d < size; ++d)
      dot += static_cast<double>(a[i * size + d]) * static_cast<double>(positive[i * size + d]);
    return rounded_product(scale, static_cast<T>(dot));
  }
  /// The dot products of a tile's rows and columns.
  template <class Tile>
  __device__ void dots(int64_t first_row, int64_t first_column, Slice<T>& slice_a, Slice<T>& slice_b,
                       typename Tile::Sums& sums) const {
    add_product<Tile, T>(DenseRows<T>{a, size}, first_row, rows, DenseRows<T>{b, size}, first_column, columns, 0, size,
                         slice_a, slice_b, sums);
  }
};

// partial[piece][i] = what row i sees in the piece of the columns;  label_logit[i] = s_i,label(i), of b's columns
template <class Tile, class T>
__global__ void __launch_bounds__(kThreadsATile)
    contrast_kernel(const __grid_constant__ Candidates<T> x, Seen<T>* partial, T* label_logit) {
  __shared__ Shared<Slice<T>> slice_a, slice_b;
  __shared__ Shared<T[kSide][kTile]> largest;
  __shared__ Shared<double[kSide][kTile]> sum;
  __shared__ Shared<int64_t[kSide][kTile]> best;
  const int64_t first_row = int64_t{blockIdx.x} * kTile, begin = blockIdx.y * x.columns_a_piece;
  const int64_t end = begin + x.columns_a_piece < x.columns ? begin + x.columns_a_piece : x.columns;
  Seen<T> seen[kMicro];
  int64_t label[kMicro];
  for (int i = 0; i < kMicro; ++i) {
    const int64_t row = first_row + Tile::row(i);
    seen[i] = Seen<T>::nothing();
    label[i] = row < x.rows ? x.labels[row] - x.first_label() : -1;
  }
  for (int64_t first = begin; first < end; first += kTile) {
    typename Tile::Sums sums = {};
    x.template dots<Tile>(first_row, first, slice_a, slice_b, sums);
#pragma unroll
    for (int i = 0; i < kMicro; ++i)
#pragma unroll
      for (int j = 0; j < kMicro; ++j) {
        const int64_t row = first_row + Tile::row(i), column = first + Tile::column(j);
        if (!x.counts(row, column)) continue;
        const T s = rounded_product(x.scale, Tile::at(sums, i, j));
        seen[i].add({s, 1, column});
        if (column == label[i]) label_logit[row] = s;
      }
  }
  for (int i = 0; i < kMicro; ++i) {
    const int place = Tile::place_in_row(), row = Tile::row(i);
    largest[place][row] = seen[i].largest, sum[place][row] = seen[i].sum, best[place][row] = seen[i].best;
  }
  __syncthreads();
  const auto r = static_cast<int>(threadIdx.x);
  if (r >= kTile || first_row + r >= x.rows) return;
  Seen<T> all = Seen<T>::nothing();
  for (int place = 0; place < kSide; ++place) all.add({largest[place][r], sum[place][r], best[place][r]});
  partial[blockIdx.y * x.rows + first_row + r] = all;
}

/// loss = m + log_sum - s_label, from what the pieces have seen and the positive.
template <class T>
struct FinishContrast {
  Candidates<T> x;
  const Seen<T>* partial;
  const T* label_logit;
  int64_t pieces;
  T *loss, *largest, *log_sum;
  float* hit;
  __device__ void operator()(int64_t i) const {
    Seen<T> all = Seen<T>::nothing();
    const bool has_positive = x.positive != nullptr;
    const T first = has_positive ? x.positive_logit(i) : T(0);
    if (has_positive) all.add({first, 1, 0});
    for (int64_t piece = 0; piece < pieces; ++piece) {
      Seen<T> seen = partial[piece * x.rows + i];
      if (seen.best >= 0) seen.best += x.first_label();
      all.add(seen);
    }
    const int64_t label = x.labels[i];
    const T right = has_positive && label == 0 ? first : label_logit[i];
    const double log_of_sum = ::log(all.sum);
    loss[i] = static_cast<T>(static_cast<double>(all.largest) - static_cast<double>(right) + log_of_sum);
    largest[i] = all.largest;
    log_sum[i] = static_cast<T>(log_of_sum);
    hit[i] = all.best == label ? 1.0f : 0.0f;
  }
};

inline constexpr int kChunks = 2;  // tiles of the gradient that a block sums: rows of up to 128 numbers at once

/// How sure a row is of each of its logits: what the forward pass kept.
template <class T>
struct Certainty {
  const T *largest, *log_sum;
  // Two subtractions: m + log_sum in one number would lose log_sum beside a large m.
  TACIT_HD T operator()(int64_t i, T s) const { return fast_exp(s - largest[i] - log_sum[i]); }
};

// partial[piece][i] = sum over the piece's columns j of w_ij b_j,  w_ij = p_ij - [j = label_i], among themselves with
// p_ji - [i = label_j] too; blockIdx = (tile of rows, kChunks tiles of the sum, piece)
template <class Tile, class T>
__global__ void __launch_bounds__(kThreadsATile)
    contrast_grad_kernel(const __grid_constant__ Candidates<T> x, Certainty<T> p, T* partial) {
  __shared__ Shared<Slice<T>> slice_a, slice_b;
  const int64_t first_row = int64_t{blockIdx.x} * kTile, first_d = int64_t{blockIdx.y} * kChunks * kTile;
  const int64_t begin = blockIdx.z * x.columns_a_piece;
  const int64_t end = begin + x.columns_a_piece < x.columns ? begin + x.columns_a_piece : x.columns;
  typename Tile::Sums gradient[kChunks] = {};
  for (int64_t first = begin; first < end; first += kTile) {
    typename Tile::Sums weights = {};
    x.template dots<Tile>(first_row, first, slice_a, slice_b, weights);
#pragma unroll
    for (int i = 0; i < kMicro; ++i)
#pragma unroll
      for (int j = 0; j < kMicro; ++j) {
        const int64_t row = first_row + Tile::row(i), column = first + Tile::column(j);
        T w = 0;
        if (x.counts(row, column)) {
          const T s = rounded_product(x.scale, Tile::at(weights, i, j));
          w = p(row, s) - (column + x.first_label() == x.labels[row] ? T(1) : T(0));
          if (x.among_themselves) w += p(column, s) - (x.labels[column] == row ? T(1) : T(0));
        }
        Tile::at(weights, i, j) = w;
      }
    // The weights are the left operand of the second product, kDepth of their columns at a time.
    for (int part = 0; part < kTile / kDepth; ++part) {
#pragma unroll
      for (int i = 0; i < kMicro; ++i)
#pragma unroll
        for (int j = 0; j < kMicro; ++j)
          if (Tile::column(j) / kDepth == part)
            slice_a[Tile::column(j) % kDepth][Tile::row(i)] = Tile::at(weights, i, j);
#pragma unroll
      for (int chunk = 0; chunk < kChunks; ++chunk) {
        if (first_d + chunk * kTile >= x.size) continue;
        load_slice<T>(DenseColumns<T>{x.b, x.size}, first_d + chunk * kTile, x.size, first + part * kDepth, x.columns,
                      slice_b);
        __syncthreads();
        Tile::add(slice_a, slice_b, gradient[chunk]);
        __syncthreads();
      }
    }
  }
  T* const to = partial + blockIdx.z * x.rows * x.size;
#pragma unroll
  for (int chunk = 0; chunk < kChunks; ++chunk)
#pragma unroll
    for (int i = 0; i < kMicro; ++i)
#pragma unroll
      for (int j = 0; j < kMicro; ++j) {
        const int64_t row = first_row + Tile::row(i), d = first_d + chunk * kTile + Tile::column(j);
        if (row < x.rows && d < x.size) to[row * x.size + d] = Tile::at(gradient[chunk], i, j);
      }
}

/// The positive's weight in its row's gradient.
template <class T>
struct PositiveWeight {
  Candidates<T> x;
  Certainty<T> p;
  T* weight;
  __device__ void operator()(int64_t i) const {
    weight[i] = p(i, x.positive_logit(i)) - (x.labels[i] == 0 ? T(1) : T(0));
  }
};
/// da = scale / R (the pieces' sum + the positive's share)
template <class T>
struct FinishGradient {
  Candidates<T> x;
  const T *partial, *positive_weight;
  int64_t pieces;
  T* da;
  TACIT_HD void operator()(int64_t at) const {
    double sum = over_pieces(partial, pieces, x.rows * x.size, at);
    if (x.positive != nullptr)
      sum += static_cast<double>(positive_weight[at / x.size]) * static_cast<double>(x.positive[at]);
    da[at] = static_cast<T>(sum * static_cast<double>(x.scale) / static_cast<double>(x.rows));
  }
};

template <class T, class Args>
Candidates<T> candidates(const Args& x) {
  constexpr int64_t kBlocks = 512;
  const int64_t rows = x.a.shape[0], columns = x.b.shape[0], tiles = divide_up(columns, kTile);
  const int64_t pieces = std::clamp<int64_t>(kBlocks / divide_up(rows, kTile), 1, tiles);
  return {x.a.template ptr<T>(),
          x.b.template ptr<T>(),
          x.positive.defined() ? x.positive.template ptr<T>() : nullptr,
          x.labels.template ptr<int64_t>(),
          rows,
          columns,
          x.a.shape[1],
          divide_up(tiles, pieces) * kTile,
          static_cast<T>(x.scale),
          x.among_themselves};
}

}  // namespace

// loss = m + log_sum - s[label];  log_sum = log sum exp(s - m);  m = max(s)
void CudaBackend::contrast(const ContrastArgs& a) {
  visit_floating("contrast", a.a.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Candidates<T> x = candidates<T>(a);
    const int64_t pieces = divide_up(x.columns, x.columns_a_piece);
    Scratch scratch(stream());
    auto* const partial = scratch.take<Seen<T>>(pieces * x.rows);
    T* const label_logit = scratch.take<T>(x.rows);
    with_tile<T>([&](auto tile) {
      launch(stream(), contrast_kernel<decltype(tile), T>, Grid{divide_up(x.rows, kTile), pieces}, dim3(kThreadsATile),
             0, x, partial, label_logit);
    });
    for_each_index(stream(), x.rows,
                   FinishContrast<T>{x, partial, label_logit, pieces, a.loss.ptr<T>(), a.largest.ptr<T>(),
                                     a.log_sum.ptr<T>(), a.hit.ptr<float>()});
  });
}

// da_i = scale / R (sum_j w_ij b_j + w_i0 positive_i), with w as above
void CudaBackend::contrast_grad(const ContrastGradArgs& a) {
  visit_floating("contrast_grad", a.a.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Candidates<T> x = candidates<T>(a);
    const Certainty<T> p{a.largest.ptr<T>(), a.log_sum.ptr<T>()};
    const int64_t pieces = divide_up(x.columns, x.columns_a_piece);
    Scratch scratch(stream());
    T* const partial = scratch.take<T>(pieces * x.rows * x.size);
    T* const positive_weight = scratch.take<T>(x.rows);
    with_tile<T>([&](auto tile) {
      launch(stream(), contrast_grad_kernel<decltype(tile), T>,
             Grid{divide_up(x.rows, kTile), divide_up(x.size, kChunks * kTile), pieces}, dim3(kThreadsATile), 0, x, p,
             partial);
    });
    if (x.positive != nullptr) for_each_index(stream(), x.rows, PositiveWeight<T>{x, p, positive_weight});
    for_each_index(stream(), x.rows * x.size, FinishGradient<T>{x, partial, positive_weight, pieces, a.da.ptr<T>()});
  });
}

}  // namespace tacit::cuda
