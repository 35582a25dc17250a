// Free memory by address and by size: neighbours join, and a request takes the smallest piece that is large enough.
// The rule: it knows only what is free, so that whoever takes a block must give back the same bytes, in one piece or
// in several. A network's activations are freed in the reverse of the order they were made in, and join again.
#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <utility>

namespace tacit {

/// Not thread-safe.
class FreeBlocks {
 public:
  /// The last `bytes` of the smallest block that has so many; null where there is none.
  void* take(size_t bytes);
  /// Throws std::bad_alloc, having changed nothing.
  void give(void* block, size_t bytes);
  /// Calls f(block, bytes) for every block, and forgets them.
  template <class F>
  void empty(F&& f) {
    for (const auto& [block, bytes] : by_address_) f(block, bytes);
    by_address_.clear();
    by_size_.clear();
  }
  size_t count() const { return by_address_.size(); }

 private:
  using ByAddress = std::map<char*, size_t>;

  ByAddress by_address_;
  std::set<std::pair<size_t, char*>> by_size_;
};

}  // namespace tacit
