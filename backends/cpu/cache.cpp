#include "backends/cpu/cache.h"

#include <unistd.h>

#include <algorithm>

namespace tacit::cpu {

int64_t second_level_cache() {
  static const int64_t bytes = [] {
#if defined(_SC_LEVEL2_CACHE_SIZE)
    const int64_t told = sysconf(_SC_LEVEL2_CACHE_SIZE);
    if (told > 0) return std::clamp<int64_t>(told, 128 << 10, 4 << 20);
#endif
    return int64_t{1} << 20;
  }();
  return bytes;
}

}  // namespace tacit::cpu
