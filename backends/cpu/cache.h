// The sizes of this machine's caches, read once. They may choose how work is cut into blocks of rows and columns, never
// the order in which numbers are added.
#pragma once

#include <cstdint>

namespace tacit::cpu {

/// Bytes of one core's second-level cache; 1 MiB where the system does not say.
int64_t second_level_cache();
/// For tests: what second_level_cache() says from now on; 0: what the system says.
void pretend_second_level_cache(int64_t bytes);

}  // namespace tacit::cpu
