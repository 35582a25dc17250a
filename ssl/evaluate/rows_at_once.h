// How many rows of a feature matrix are worked on at a time, where all of them at once would take as much memory again.
#pragma once

#include <cstdint>

namespace tacit::ssl {

inline constexpr int64_t kRowsAtOnce = 8192;

}  // namespace tacit::ssl
