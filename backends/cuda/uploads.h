// Copies from the host that nobody waits for. The bytes go to a ring of page-locked memory, so that the host may go on;
// from there small ones go to their place in the compute stream's order. Large ones, the batches, are sent by a stream
// of their own into staging memory on the device, while the compute stream still works on the step before; in its order
// they are then copied to their place, which costs a hundredth of the way over the bus.
// The rule: only the compute stream touches memory of the allocator, whose blocks are free in that stream's order. A
// part of a ring or of the staging memory is used again when the event behind its last use has passed: the copy stream
// waits for that where the next user is the device, the host where it is the host.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <vector>

#include "backends/cuda/ring.h"

namespace tacit::cuda {

/// Events that are used again.
class Events {
 public:
  Events() = default;
  ~Events();
  Events(const Events&) = delete;
  Events& operator=(const Events&) = delete;
  cudaEvent_t take();
  void give(cudaEvent_t event) { spare_.push_back(event); }

 private:
  std::vector<cudaEvent_t> all_, spare_;
};

/// A ring of memory whose parts are in use until an event has passed.
class EventRing {
 public:
  EventRing(Events& events, size_t bytes) : events_(events), ring_(bytes) {}
  /// Where a part of `bytes` begins; `wait(event)` is called for each older part that is in the way.
  size_t take(size_t bytes, const std::function<void(cudaEvent_t)>& wait);
  /// The part taken last is in use until all that the stream was given by now is done; that event.
  cudaEvent_t in_use(cudaStream_t stream);

 private:
  Events& events_;
  Ring ring_;
  std::deque<cudaEvent_t> behind_;  ///< the parts, oldest first
};

/// Page-locked memory of what a captured step uploads, the same at each repetition.
class Constants {
 public:
  static constexpr size_t kBytes = size_t{16} << 20;
  Constants();
  ~Constants();
  Constants(const Constants&) = delete;
  Constants& operator=(const Constants&) = delete;
  /// A copy of some bytes, kept as long as this. Throws Error when there is no more room.
  const void* keep(const void* host, size_t bytes);

 private:
  char* memory_ = nullptr;
  size_t used_ = 0;
};

class Uploads {
 public:
  static constexpr size_t kSmallRing = size_t{4} << 20, kLargeRing = size_t{64} << 20;  ///< page-locked
  static constexpr size_t kLarge = size_t{256} << 10;  ///< from so many bytes on a copy goes through the copy stream
  static constexpr size_t kPiece = size_t{4} << 20;    ///< larger ones in pieces: one is sent while the next fills
  static constexpr size_t kLeastStaging = size_t{16} << 20, kMostStaging = size_t{1} << 30;

  Uploads() = default;
  ~Uploads();
  Uploads(const Uploads&) = delete;
  Uploads& operator=(const Uploads&) = delete;

  /// Returns when `host` may be changed. `wait(event)` is how the host waits: for a full ring.
  void copy(void* dst, const void* host, size_t bytes, cudaStream_t compute,
            const std::function<void(cudaEvent_t)>& wait);
  /// From now on copies are captured: from these constants, in the compute stream. Null: no more.
  void capture(Constants* constants) { constants_ = constants; }

 private:
  /// Page-locked memory under an EventRing, taken when it is first used.
  struct Locked {
    Locked(Events& events, size_t size) : ring(events, size), bytes(size) {}
    EventRing ring;
    size_t bytes;
    char* memory = nullptr;
    /// A copy of some bytes in it.
    const void* keep(const char* host, size_t size, const std::function<void(cudaEvent_t)>& wait);
  };
  /// Makes staging memory for such copies; false where the device has none to spare.
  bool make_staging(size_t bytes);

  std::mutex mutex_;
  Events events_;
  Locked small_{events_, kSmallRing}, large_{events_, kLargeRing};
  Constants* constants_ = nullptr;
  cudaStream_t copies_ = nullptr;
  char* staging_ = nullptr;
  size_t staging_bytes_ = 0;
  bool no_staging_ = false;
  std::optional<EventRing> staged_;
};

}  // namespace tacit::cuda
