// What tests of the emulated device share: memory of it, and lambdas as kernels.
#pragma once

#include <cuda_runtime.h>
#include <doctest/doctest.h>

#include <string>

#include "tensor/error.h"

namespace tacit::testing {

/// n numbers on the device.
template <class T>
struct Memory {
  explicit Memory(size_t n) { REQUIRE(cudaMalloc(reinterpret_cast<void**>(&data), n * sizeof(T)) == cudaSuccess); }
  ~Memory() { cudaFree(data); }
  T* data = nullptr;
};

template <class F>
__global__ void call_kernel(F f) {
  f();
}
/// Runs f as every thread of a grid; the launch's error.
template <class F>
cudaError_t run(dim3 grid, dim3 block, size_t shared, const F& f) {
  emulator::launch(call_kernel<F>, grid, block, shared, nullptr, f);
  return cudaGetLastError();
}
/// What the launch throws.
template <class F>
std::string fault(dim3 block, const F& f) {
  try {
    run(1, block, 0, f);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}
inline bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace tacit::testing
