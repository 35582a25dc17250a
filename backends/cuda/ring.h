// Which parts of a ring of bytes are in use: parts are taken in order and given back in the same order.
// The rule: a part never wraps around the end; bytes that are left there are skipped. Plain arithmetic, so that the
// CPU's tests can run it.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>

namespace tacit::cuda {

class Ring {
 public:
  explicit Ring(size_t bytes) : bytes_(bytes) {}

  /// Where the next `bytes` (at least 1, at most the ring) begin, on a multiple of 256; nothing while the oldest part
  /// is in the way.
  std::optional<size_t> take(size_t bytes) {
    const size_t size = (bytes + kAlign - 1) / kAlign * kAlign;
    if (size > bytes_) return std::nullopt;
    if (parts_.empty()) head_ = 0;
    size_t at = head_;
    if (!parts_.empty() && parts_.front() >= head_) {  // the free bytes are [head, oldest)
      if (at + size > parts_.front()) return std::nullopt;
    } else if (at + size > bytes_) {  // they are [head, end) and [0, oldest)
      if (size > parts_.front()) return std::nullopt;
      at = 0;
    }
    parts_.push_back(at);
    head_ = at + size;
    return at;
  }
  /// The oldest part is free again.
  void release() { parts_.pop_front(); }
  bool empty() const { return parts_.empty(); }

 private:
  static constexpr size_t kAlign = 256;
  size_t bytes_, head_ = 0;
  std::deque<size_t> parts_;  ///< where they begin, oldest first
};

}  // namespace tacit::cuda
