// Threads for the CPU kernels: fixed pieces, given to oneTBB. The number of pieces depends on the size alone.
#pragma once

#include <cstdint>
#include <type_traits>

namespace tacit::cpu {

namespace detail {
// oneTBB's templates are compiled once, in parallel.cpp, not for every kernel's loop.
void run_pieces(int64_t count, void (*call)(const void* f, int64_t piece), const void* f);
}  // namespace detail

/// Calls f(piece) for pieces 0 … count-1, in parallel, in any order.
template <class F>
void parallel_pieces(int64_t count, F&& f) {
  if (count <= 0) return;
  if (count == 1) return f(int64_t{0});
  using Function = const std::remove_reference_t<F>;
  detail::run_pieces(
      count, [](const void* g, int64_t piece) { (*static_cast<Function*>(g))(piece); }, &f);
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
