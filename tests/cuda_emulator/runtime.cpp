// The runtime's calls: memory, errors and what is known of the device.
#include <cuda_runtime.h>

#include <cstdlib>
#include <map>
#include <mutex>
#include <utility>

#include "tests/cuda_emulator/internal.h"

namespace {

constexpr size_t kTotalBytes = size_t{16} << 30, kAlignment = 256;

std::mutex mutex;
cudaError_t last = cudaSuccess;
size_t used = 0;
std::map<uintptr_t, size_t>& blocks() {  // address -> bytes
  static std::map<uintptr_t, size_t> all;
  return all;
}
std::map<const void*, size_t>& shared_limits() {
  static std::map<const void*, size_t> all;
  return all;
}

// The allocation that holds an address, or the end.
std::map<uintptr_t, size_t>::iterator block_of(const void* pointer) {
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  auto after = blocks().upper_bound(address);
  if (after == blocks().begin()) return blocks().end();
  --after;
  return address < after->first + after->second ? after : blocks().end();
}

}  // namespace

namespace emulator {

cudaError_t remember(cudaError_t status) {
  if (status != cudaSuccess) last = status;
  return status;
}

bool on_device(const void* pointer, size_t bytes) {
  const std::lock_guard lock(mutex);
  const auto block = block_of(pointer);
  return block != blocks().end() && reinterpret_cast<uintptr_t>(pointer) + bytes <= block->first + block->second;
}

size_t shared_allowed(const void* kernel) {
  const auto limit = shared_limits().find(kernel);
  return limit == shared_limits().end() ? kDefaultShared : limit->second;
}

}  // namespace emulator

using emulator::remember;

const char* cudaGetErrorString(cudaError_t status) {
  switch (status) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorInvalidMemcpyDirection:
      return "invalid copy direction for memcpy";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
  }
  return "unrecognized error code";
}
cudaError_t cudaGetLastError() { return std::exchange(last, cudaSuccess); }

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = reinterpret_cast<cudaStream_t>(new char);
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete reinterpret_cast<char*>(stream);
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) { return remember(device == 0 ? cudaSuccess : cudaErrorInvalidDevice); }
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {"emulated", 9, 0};
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  if (attribute != cudaDevAttrMaxSharedMemoryPerBlockOptin) return remember(cudaErrorInvalidValue);
  *value = static_cast<int>(emulator::kMostShared);
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  const std::lock_guard lock(mutex);
  if (bytes > kTotalBytes - used || posix_memalign(pointer, kAlignment, bytes) != 0)
    return remember(cudaErrorMemoryAllocation);
  std::memset(*pointer, 0xff, bytes);
  blocks()[reinterpret_cast<uintptr_t>(*pointer)] = bytes;
  used += bytes;
  return cudaSuccess;
}
cudaError_t cudaFree(void* pointer) {
  if (pointer == nullptr) return cudaSuccess;
  const std::lock_guard lock(mutex);
  const auto block = blocks().find(reinterpret_cast<uintptr_t>(pointer));
  if (block == blocks().end()) return remember(cudaErrorInvalidValue);
  used -= block->second;
  blocks().erase(block);
  std::free(pointer);
  return cudaSuccess;
}
cudaError_t cudaMallocAsync(void** pointer, size_t bytes, cudaStream_t) { return cudaMalloc(pointer, bytes); }
cudaError_t cudaFreeAsync(void* pointer, cudaStream_t) { return cudaFree(pointer); }

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t) {
  // A side on the device lies in one allocation; a side on the host begins in none.
  const auto fits = [&](const void* side, bool device) {
    return device ? emulator::on_device(side, bytes) : !emulator::on_device(side, 0);
  };
  if (!fits(to, kind != cudaMemcpyDeviceToHost) || !fits(from, kind != cudaMemcpyHostToDevice))
    return remember(cudaErrorInvalidValue);
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* available, size_t* total) {
  const std::lock_guard lock(mutex);
  *available = kTotalBytes - used;
  *total = kTotalBytes;
  return cudaSuccess;
}

cudaError_t cudaMallocHost(void** pointer, size_t bytes) {
  *pointer = std::malloc(bytes);
  return *pointer != nullptr ? cudaSuccess : remember(cudaErrorMemoryAllocation);
}
cudaError_t cudaFreeHost(void* pointer) {
  std::free(pointer);
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = reinterpret_cast<cudaEvent_t>(new char);
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }
cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete reinterpret_cast<char*>(event);
  return cudaSuccess;
}

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int) {
  *pool = nullptr;
  return cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) { return cudaSuccess; }

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute, int value) {
  if (value < 0 || static_cast<size_t>(value) > emulator::kMostShared) return remember(cudaErrorInvalidValue);
  shared_limits()[kernel] = static_cast<size_t>(value);
  return cudaSuccess;
}
