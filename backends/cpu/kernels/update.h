// Optimiser steps and moving averages over one stretch of a tensor. Formulas: backends/reference/update.cpp.
#pragma once

#include <cstdint>

#include "backends/cpu/kernels/dispatch.h"

namespace tacit::cpu {

template <class T>
struct UpdateTable {
  void (*lerp)(T* target, const T* source, int64_t n, double weight);
  /// buffer is null without momentum.
  void (*sgd)(T* param, const T* grad, T* buffer, int64_t n, double lr, double momentum, double weight_decay,
              bool nesterov);
  /// decay = 1 - lr weight_decay, step = lr / (1 - beta1^t), root = sqrt(1 - beta2^t).
  void (*adamw)(T* param, const T* grad, T* exp_avg, T* exp_avg_sq, int64_t n, double beta1, double beta2, double eps,
                double decay, double step, double root);
  /// squares[0] = sum of param^2, squares[1] = sum of (grad + weight_decay param)^2, in double.
  void (*lars_squares)(const T* param, const T* grad, int64_t n, double weight_decay, double* squares);
  /// m = momentum m + gain (grad + weight_decay param), param -= lr m.
  void (*lars)(T* param, const T* grad, T* buffer, int64_t n, double lr, double momentum, double weight_decay,
               double gain);
};

TACIT_ISA_TABLES(UpdateTable, update_table)

}  // namespace tacit::cpu
