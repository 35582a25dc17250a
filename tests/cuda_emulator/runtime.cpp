// The runtime's calls: memory, copies, errors and what is known of the device. (Streams: streams.cpp.)
#include <cuda_runtime.h>

#include <cstdlib>
#include <iterator>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

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
std::map<uintptr_t, size_t>& locked() {  // page-locked memory of the host, likewise
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
    case cudaErrorIllegalState:
      return "the operation cannot be performed in the present state";
    case cudaErrorNotReady:
      return "device not ready";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated:
      return "operation failed due to a previous error during capture";
    case cudaErrorStreamCaptureIsolation:
      return "dependency created on uncaptured work in another stream";
  }
  return "unrecognized error code";
}
cudaError_t cudaGetLastError() { return std::exchange(last, cudaSuccess); }

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

namespace {
cudaError_t allocate(void** pointer, size_t bytes) {
  const std::lock_guard lock(mutex);
  if (bytes > kTotalBytes - used || posix_memalign(pointer, kAlignment, bytes) != 0)
    return remember(cudaErrorMemoryAllocation);
  std::memset(*pointer, 0xff, bytes);
  blocks()[reinterpret_cast<uintptr_t>(*pointer)] = bytes;
  used += bytes;
  return cudaSuccess;
}
bool is_block(const void* pointer) {
  const std::lock_guard lock(mutex);
  return blocks().count(reinterpret_cast<uintptr_t>(pointer)) > 0;
}
bool is_locked(const void* pointer) {
  const std::lock_guard lock(mutex);
  const auto after = locked().upper_bound(reinterpret_cast<uintptr_t>(pointer));
  if (after == locked().begin()) return false;
  const auto block = std::prev(after);
  return reinterpret_cast<uintptr_t>(pointer) < block->first + block->second;
}
}  // namespace

void emulator::release(void* pointer) {
  const std::lock_guard lock(mutex);
  const auto block = blocks().find(reinterpret_cast<uintptr_t>(pointer));
  used -= block->second;
  blocks().erase(block);
  std::free(pointer);
}

cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  if (emulator::not_in_capture() != cudaSuccess) return cudaErrorStreamCaptureUnsupported;
  return allocate(pointer, bytes);
}
cudaError_t cudaFree(void* pointer) {
  if (pointer == nullptr) return cudaSuccess;
  if (emulator::not_in_capture() != cudaSuccess) return cudaErrorStreamCaptureUnsupported;
  if (!is_block(pointer)) return remember(cudaErrorInvalidValue);
  emulator::wait_for_all();
  emulator::release(pointer);
  return cudaSuccess;
}
// In a capture: memory of the graph, NaN again whenever it is launched; no other can be freed there.
cudaError_t cudaMallocAsync(void** pointer, size_t bytes, cudaStream_t stream) {
  const cudaError_t status = allocate(pointer, bytes);
  if (status != cudaSuccess || !emulator::keep_for_graph(stream, *pointer)) return status;
  return emulator::enqueue(stream, [block = *pointer, bytes] { std::memset(block, 0xff, bytes); });
}
cudaError_t cudaFreeAsync(void* pointer, cudaStream_t stream) {
  if (!is_block(pointer)) return remember(cudaErrorInvalidValue);
  if (emulator::captures(stream))
    return emulator::kept_for_graph(stream, pointer) ? cudaSuccess : remember(cudaErrorInvalidValue);
  return emulator::enqueue(stream, [pointer] { emulator::release(pointer); });
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  // A side on the device lies in one allocation; a side on the host begins in none.
  const auto fits = [&](const void* side, bool device) {
    return device ? emulator::on_device(side, bytes) : !emulator::on_device(side, 0);
  };
  if (!fits(to, kind != cudaMemcpyDeviceToHost) || !fits(from, kind != cudaMemcpyHostToDevice))
    return remember(cudaErrorInvalidValue);
  const bool movable =
      (kind == cudaMemcpyHostToDevice && !is_locked(from)) || (kind == cudaMemcpyDeviceToHost && !is_locked(to));
  if (!movable) return emulator::enqueue(stream, [=] { std::memcpy(to, from, bytes); });
  if (emulator::captures(stream)) return emulator::not_in_capture();
  if (kind == cudaMemcpyHostToDevice) {
    const auto* const begin = static_cast<const char*>(from);
    return emulator::enqueue(
        stream, [to, read = std::vector<char>(begin, begin + bytes)] { std::memcpy(to, read.data(), read.size()); });
  }
  emulator::enqueue(stream, [=] { std::memcpy(to, from, bytes); });
  emulator::wait_for(stream);
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  if (!emulator::on_device(to, bytes)) return remember(cudaErrorInvalidValue);
  return emulator::enqueue(stream, [=] { std::memset(to, value, bytes); });
}
cudaError_t cudaMemGetInfo(size_t* available, size_t* total) {
  const std::lock_guard lock(mutex);
  *available = kTotalBytes - used;
  *total = kTotalBytes;
  return cudaSuccess;
}

cudaError_t cudaMallocHost(void** pointer, size_t bytes) {
  if (emulator::not_in_capture() != cudaSuccess) return cudaErrorStreamCaptureUnsupported;
  *pointer = std::malloc(bytes);
  if (*pointer == nullptr) return remember(cudaErrorMemoryAllocation);
  const std::lock_guard lock(mutex);
  locked()[reinterpret_cast<uintptr_t>(*pointer)] = bytes;
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* pointer) {
  if (emulator::not_in_capture() != cudaSuccess) return cudaErrorStreamCaptureUnsupported;
  emulator::wait_for_all();
  {
    const std::lock_guard lock(mutex);
    locked().erase(reinterpret_cast<uintptr_t>(pointer));
  }
  std::free(pointer);
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
