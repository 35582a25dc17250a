// Threads for the CPU kernels: fixed pieces, given to oneTBB. The number of pieces depends on the size alone.
#pragma once

#include <tbb/parallel_for.h>

#include <cstdint>

namespace tacit::cpu {

/// Calls f(piece) for pieces 0 … count-1, in parallel, in any order.
template <class F>
void parallel_pieces(int64_t count, F&& f) {
  if (count <= 0) return;
  if (count == 1) return f(int64_t{0});
  tbb::parallel_for(int64_t{0}, count, [&](int64_t i) { f(i); });
}

/// Splits 0 … n-1 into ranges of at most `grain` and calls f(begin, end) for each, in parallel.
template <class F>
void parallel_ranges(int64_t n, int64_t grain, F&& f) {
  if (grain < 1) grain = 1;
  parallel_pieces((n + grain - 1) / grain, [&](int64_t i) {
    const int64_t begin = i * grain;
    f(begin, begin + grain < n ? begin + grain : n);
  });
}

}  // namespace tacit::cpu
