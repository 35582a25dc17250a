// What the emulator's files know of each other.
#pragma once

#include <cuda_runtime.h>

#include <string>

namespace emulator {

/// Keeps a status for cudaGetLastError, and returns it.
cudaError_t remember(cudaError_t status);
/// True when all the bytes lie in one allocation of the device.
bool on_device(const void* pointer, size_t bytes);
/// How much dynamic shared memory a kernel may have; 48 KB until cudaFuncSetAttribute says more.
size_t shared_allowed(const void* kernel);
/// A function's name from this program's symbols, or its address.
std::string name_of_kernel(const void* kernel);

}  // namespace emulator
