#include "backends/cpu/cache.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>

namespace tacit::cpu {

namespace {
std::atomic<int64_t> pretended{0};
}

void pretend_second_level_cache(int64_t bytes) { pretended = bytes; }

int64_t second_level_cache() {
  static const int64_t bytes = [] {
#if defined(_SC_LEVEL2_CACHE_SIZE)
    const int64_t told = sysconf(_SC_LEVEL2_CACHE_SIZE);
    if (told > 0) return std::clamp<int64_t>(told, 128 << 10, 4 << 20);
#endif
    return int64_t{1} << 20;
  }();
  const int64_t told = pretended;
  return told > 0 ? told : bytes;
}

}  // namespace tacit::cpu
