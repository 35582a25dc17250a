// How often a fused op was composed of others (composites() in ops.h).
#pragma once

#include <atomic>
#include <cstdint>

namespace tacit {

inline std::atomic<int64_t> composed_ops{0};

}  // namespace tacit
