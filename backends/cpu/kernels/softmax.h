// Softmax and cross-entropy of one row.
#pragma once

#include <cstdint>

#include "backends/cpu/kernels/dispatch.h"

namespace tacit::cpu {

template <class T>
struct SoftmaxTable {
  void (*row)(T* y, const T* x, int64_t n, bool log);
  void (*row_grad)(T* dx, const T* dy, const T* y, int64_t n, bool log);
  void (*cross_entropy)(T* loss, T* log_sum, const T* x, int64_t n, int64_t label, double smoothing);
  void (*cross_entropy_grad)(T* dx, const T* x, int64_t n, T dloss, T log_sum, int64_t label, double smoothing);
};

TACIT_ISA_TABLES(SoftmaxTable, softmax_table)

}  // namespace tacit::cpu
