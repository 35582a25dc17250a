#include "backends/cpu/kernels/depthwise.h"

namespace tacit::cpu::TACIT_ISA {
namespace {

// Channels that are summed together; the compiler keeps them in vector registers.
constexpr int kChannels = 64;

template <class T>
void sum_products(T* to, const T* const* a, const T* const* b, int64_t count, int64_t channels, bool accumulate) {
  int64_t c = 0;
  for (; c + kChannels <= channels; c += kChannels) {
    T sum[kChannels];
    for (int j = 0; j < kChannels; ++j) sum[j] = accumulate ? to[c + j] : T(0);
    for (int64_t t = 0; t < count; ++t) {
      const T* const p = a[t] + c;
      const T* const q = b[t] + c;
      for (int j = 0; j < kChannels; ++j) sum[j] += p[j] * q[j];
    }
    for (int j = 0; j < kChannels; ++j) to[c + j] = sum[j];
  }
  for (; c < channels; ++c) {
    T sum = accumulate ? to[c] : T(0);
    for (int64_t t = 0; t < count; ++t) sum += a[t][c] * b[t][c];
    to[c] = sum;
  }
}

constexpr DepthwiseTable kTable = {sum_products<float>, sum_products<double>};

}  // namespace

const DepthwiseTable& depthwise_table() { return kTable; }

}  // namespace tacit::cpu::TACIT_ISA
