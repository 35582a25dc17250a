// Where the CPU backend meets oneTBB's loops.
#include "backends/cpu/parallel.h"

#include <tbb/parallel_for.h>

namespace tacit::cpu::detail {

void run_pieces(int64_t count, void (*call)(const void* f, int64_t piece), const void* f) {
  tbb::parallel_for(int64_t{0}, count, [=](int64_t piece) { call(f, piece); });
}

}  // namespace tacit::cpu::detail
