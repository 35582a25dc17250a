// The most memory that tensors may hold, all devices' allocators in main memory together: what would pass it is an
// Error with a word on how to shrink, where the system would kill the process. The rule: blocks kept for reuse count,
// and are given back before anything is refused.
#pragma once

#include <cstdint>
#include <string>

#include "tensor/error.h"

namespace tacit {

/// Thrown by an allocation that would pass the limit.
class MemoryLimitError : public Error {
 public:
  using Error::Error;
};

/// INT64_MAX (the default): none. Less than what is held already refuses everything new.
void set_memory_limit(int64_t bytes);
/// Bytes that allocators hold now, those kept for reuse included.
int64_t reserved_memory();

/// "512 MB", "1.5 GB": K = 1024, megabytes rounded up.
std::string readable_bytes(int64_t bytes);

/// For its lifetime allocators may take `more` bytes than they hold now, but never more than the limit before.
class MemoryLimitScope {
 public:
  explicit MemoryLimitScope(int64_t more);
  ~MemoryLimitScope() { set_memory_limit(before_); }
  MemoryLimitScope(const MemoryLimitScope&) = delete;
  MemoryLimitScope& operator=(const MemoryLimitScope&) = delete;

 private:
  int64_t before_;
};

}  // namespace tacit
