// The CPU backend's memory, threads and its view of OpenBLAS. The kernels are in the files named after their families.
#include "backends/cpu/backend.h"

#include <tbb/global_control.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <memory>
#include <mutex>
#include <string_view>

#include "backends/cpu/kernels/dispatch.h"
#include "backends/cpu/memory.h"
#include "backends/cpu/winograd.h"

// OpenBLAS's own functions; the portable <cblas.h> lacks them.
extern "C" {
char* openblas_get_config(void);
char* openblas_get_corename(void);
void openblas_set_num_threads(int);
}

namespace tacit::cpu {
namespace {

// OpenBLAS core types without AVX, as openblas_get_corename() spells them.
constexpr std::string_view kSseCores[] = {"Katmai",  "Coppermine", "Northwood",    "Prescott",  "Banias", "Atom",
                                          "Core2",   "Penryn",     "Dunnington",   "Nehalem",   "Athlon", "Generic",
                                          "Opteron", "Nano",       "Opteron_SSE3", "Barcelona", "Bobcat", "Viac3"};

// All parallelism is oneTBB's: OpenBLAS runs inside its tasks, and threads of its own would fight for the cores.
void prepare_openblas() {
  static std::once_flag once;
  std::call_once(once, [] {
    openblas_set_num_threads(1);
    const std::string warning = blas_report().warning;
    if (!warning.empty()) std::fprintf(stderr, "tacit: warning: %s\n", warning.c_str());
  });
}

}  // namespace

CpuBackend::CpuBackend() {
  // A bad TACIT_CPU or TACIT_CONV is reported here, not in the middle of the first step.
  cpu_isa();
  conv_algorithm_of_environment();
  prepare_openblas();
}

void* CpuBackend::allocate(size_t bytes) { return bytes >= joins_from() ? map_pages(bytes) : system_allocate(bytes); }
void CpuBackend::deallocate(void* data, size_t bytes) noexcept {
  bytes >= joins_from() ? unmap_pages(data, bytes) : system_free(data);
}
void CpuBackend::deallocate_joined(void* data, size_t bytes) noexcept { unmap_pages(data, bytes); }
size_t CpuBackend::joins_from() const { return kPagesFrom; }
int64_t CpuBackend::workspace_bytes() const { return scratch_bytes(); }
void CpuBackend::upload(void* dst, const void* host, size_t bytes) {
  if (bytes > 0) std::memcpy(dst, host, bytes);
}
void CpuBackend::download(void* host, const void* src, size_t bytes) {
  if (bytes > 0) std::memcpy(host, src, bytes);
}

void set_threads(int n) {
  TACIT_CHECK(n >= 1, "[cpu] the number of threads must be at least 1, got ", n);
  static std::mutex mutex;
  static std::unique_ptr<tbb::global_control> limit;
  const std::lock_guard lock(mutex);
  limit.reset();  // the smallest living limit wins, so the old one must go first
  limit = std::make_unique<tbb::global_control>(tbb::global_control::max_allowed_parallelism, n);
}

int threads() {
  return static_cast<int>(tbb::global_control::active_value(tbb::global_control::max_allowed_parallelism));
}

BlasReport blas_report() {
  BlasReport report{openblas_get_config(), openblas_get_corename(), ""};
  const bool sse_core = std::find(std::begin(kSseCores), std::end(kSseCores), report.core) != std::end(kSseCores);
#if defined(__x86_64__)
  const Isa best = detected_isa();
  if (sse_core && best != Isa::v2) {
    const std::string remedy = best == Isa::v4 ? "SkylakeX" : "Haswell";
    report.warning = "OpenBLAS runs its kernels for " + report.core + ", without AVX, on a CPU with " + isa_name(best) +
                     ": f64 products are several times slower. Remedy: set OPENBLAS_CORETYPE=" + remedy +
                     " in the environment before the program starts";
  }
#else
  static_cast<void>(sse_core);
#endif
  return report;
}

}  // namespace tacit::cpu
