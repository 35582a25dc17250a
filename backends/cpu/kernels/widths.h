// Loops over columns in groups whose width the compiler knows, so that a group's values stay in registers.
#pragma once

#include <cstdint>

namespace tacit::cpu::TACIT_ISA {

template <int W>
struct Width {
  static constexpr int value = W;
};

/// Calls f(first column, Width<W>()) for groups of each W in turn (largest first), then for single columns.
template <int... W, class F>
void for_widths(int64_t columns, F&& f) {
  int64_t c = 0;
  const auto groups = [&](auto width) {
    for (; c + decltype(width)::value <= columns; c += decltype(width)::value) f(c, width);
  };
  (groups(Width<W>()), ...);
  groups(Width<1>());
}

}  // namespace tacit::cpu::TACIT_ISA
