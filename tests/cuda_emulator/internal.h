// What the emulator's files know of each other.
#pragma once

#include <cuda_runtime.h>

#include <cstdlib>
#include <functional>
#include <string>

namespace emulator {

/// Random numbers that cost nothing beside a switch of fibers (Marsaglia's xorshift64*), from TACIT_EMULATOR_SEED.
class Order {
 public:
  Order() {
    const char* const text = std::getenv("TACIT_EMULATOR_SEED");
    state_ = (text == nullptr ? 1 : std::strtoull(text, nullptr, 10)) * 0x9e3779b97f4a7c15u | 1;
  }
  /// Below n, which is at most 2^32.
  uint64_t below(uint64_t n) {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return (state_ * 0x2545f4914f6cdd1du >> 32) * n >> 32;
  }

 private:
  uint64_t state_;
};

/// Keeps a status for cudaGetLastError, and returns it.
cudaError_t remember(cudaError_t status);
/// True when all the bytes lie in one allocation of the device.
bool on_device(const void* pointer, size_t bytes);
/// Gives allocated memory back, now.
void release(void* pointer);

/// Gives a stream something to do in its turn; the null stream does it now.
cudaError_t enqueue(cudaStream_t stream, std::function<void()> work);
/// The error of a call that CUDA refuses while anything is captured, and that spoils the capture.
cudaError_t not_in_capture();
/// Whether the stream is being captured; what a graph allocates lives as long as that.
bool captures(cudaStream_t stream);
bool keep_for_graph(cudaStream_t stream, void* block);
/// Whether that was done with the block in the capture of the stream.
bool kept_for_graph(cudaStream_t stream, void* block);
/// Does all that a stream, or every stream, was given; counted by waits() of device.h.
void wait_for(cudaStream_t stream);
void wait_for_all();

/// How much dynamic shared memory a kernel may have; 48 KB until cudaFuncSetAttribute says more.
size_t shared_allowed(const void* kernel);
/// A function's name from this program's symbols, or its address.
std::string name_of_kernel(const void* kernel);

}  // namespace emulator
