// How a device runs a kernel: the blocks one after another, the threads of a block as fibers. Every choice of who runs
// next is drawn from TACIT_EMULATOR_SEED, so that code that needs a barrier and has none computes something else. A
// block runs by one of two schedules, drawn too. Even: whoever is ready may be next, so that the threads advance
// together. Ranked: of the threads that are ready the one of the highest rank, so that some are as far behind the
// others as barriers let them be; that shows who writes what a late thread has still to read.
#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <numeric>
#include <utility>
#include <vector>

#include "tensor/error.h"
#include "tests/cuda_emulator/fiber.h"
#include "tests/cuda_emulator/internal.h"

namespace emulator {

namespace {

enum class State { Ready, AtBarrier, InWarp, Ended };

struct Thread {
  uint3 index;
  State state = State::Ready;
  Fiber* fiber = nullptr;  // once it started
  Site site = {"", 0};     // where it waits
  uint64_t rank = 0;       // in a ranked schedule
  // In a warp's exchange: what it gives (and then gets), to whom it listens, and whether it is a vote.
  unsigned mask = 0, source = 0;
  uint64_t bits = 0;
  bool vote = false;
};

// As launch.h asks of CUDA.
constexpr size_t kSharedAlignment = 1024;
struct FreeShared {
  void operator()(char* memory) const { ::operator delete[](memory, std::align_val_t{kSharedAlignment}); }
};

// The one multiprocessor. It runs one block at a time.
class Multiprocessor {
 public:
  void run_grid(const void* kernel, dim3 grid, dim3 block, size_t shared, const std::function<void()>& body) {
    const std::lock_guard lock(mutex_);
    kernel_ = kernel;
    gridDim = grid, blockDim = block;
    shared_bytes_ = shared;
    // Of just this size, for the address sanitizer.
    shared_.reset(new (std::align_val_t{kSharedAlignment}) char[std::max<size_t>(shared, 1)]);
    const uint64_t blocks = uint64_t{grid.x} * grid.y * grid.z;
    const uint64_t choices = std::min<uint64_t>(blocks, 1u << 31);
    uint64_t step = 1 + order_.below(choices);  // any step without a common divisor visits every block once
    while (std::gcd(step, blocks) != 1) ++step;
    uint64_t at = order_.below(choices);
    for (uint64_t i = 0; i < blocks; ++i, at = (at + step) % blocks) {
      blockIdx = {static_cast<unsigned>(at % grid.x), static_cast<unsigned>(at / grid.x % grid.y),
                  static_cast<unsigned>(at / grid.x / grid.y)};
      run_block(body);
    }
  }

  Thread& me() { return threads_[running_]; }
  unsigned lane() const { return running_ % kWarp; }
  bool draw() { return order_.below(2) == 1; }
  char* shared() { return shared_.get(); }

  void barrier(Site site) {
    me().state = State::AtBarrier;
    me().site = site;
    const auto here = [&](const Thread& t) { return t.site == site; };
    if (++at_barrier_ == threads_.size() && std::all_of(threads_.begin(), threads_.end(), here)) {
      at_barrier_ = 0;
      for (unsigned t = 0; t < threads_.size(); ++t) release(t);
    }
    me().fiber->leave();
  }

  // The last lane to come finds out what all of them get.
  uint64_t exchange(unsigned mask, uint64_t bits, unsigned source, bool vote, Site site) {
    TACIT_CHECK((mask >> lane() & 1) != 0 && (mask >> source & 1) != 0, where(), ": lane ", lane(), " at ", text(site),
                " reads lane ", source, ", and the mask has not both");
    Thread& self = me();
    self.state = State::InWarp;
    self.site = site;
    self.mask = mask, self.bits = bits, self.source = source, self.vote = vote;
    unsigned& waiting = in_warp_[running_ / kWarp];
    waiting |= 1u << lane();
    if ((waiting & mask) == mask) complete(running_ - lane(), mask);
    self.fiber->leave();
    return self.bits;
  }

 private:
  void release(unsigned thread) {
    threads_[thread].state = State::Ready;
    make_ready(thread);
  }
  struct ByRank {
    const std::vector<Thread>& threads;
    bool operator()(unsigned a, unsigned b) const { return threads[a].rank < threads[b].rank; }
  };
  void make_ready(unsigned thread) {
    ready_.push_back(thread);
    if (ranked_) std::push_heap(ready_.begin(), ready_.end(), ByRank{threads_});
  }

  // Gives the lanes of a mask, which all wait, what they came for, unless they wait for different things.
  void complete(unsigned first, unsigned mask) {
    const Thread& last = me();
    unsigned votes = 0;
    uint64_t given[kWarp];
    for (unsigned l = 0; l < kWarp; ++l) {
      if ((mask >> l & 1) == 0) continue;
      const Thread& t = threads_[first + l];
      if (t.mask != mask || t.vote != last.vote || !(t.site == last.site)) return;
      votes |= (t.bits != 0 ? 1u : 0u) << l;
      given[l] = t.bits;
    }
    for (unsigned l = 0; l < kWarp; ++l) {
      if ((mask >> l & 1) == 0) continue;
      Thread& t = threads_[first + l];
      t.bits = t.vote ? votes : given[t.source];
      release(first + l);
    }
    in_warp_[first / kWarp] &= ~mask;
  }

  void run_block(const std::function<void()>& body) {
    ++block_number;
    std::memset(shared_.get(), 0xff, shared_bytes_);
    at_barrier_ = ended_ = 0;
    threads_.assign(size_t{blockDim.x} * blockDim.y * blockDim.z, Thread());
    in_warp_.assign((threads_.size() + kWarp - 1) / kWarp, 0);
    ready_.clear();
    ranked_ = order_.below(2) == 1;
    for (unsigned t = 0; t < threads_.size(); ++t) {
      threads_[t].index = {t % blockDim.x, t / blockDim.x % blockDim.y, t / blockDim.x / blockDim.y};
      if (ranked_) threads_[t].rank = order_.below(uint64_t{1} << 32);
      make_ready(t);
    }
    while (!ready_.empty()) {
      choose();
      if (me().fiber == nullptr) me().fiber = idle_fiber(body);
      me().fiber->enter();
      if (fault_ != nullptr) {
        forget_fibers();
        std::rethrow_exception(std::exchange(fault_, nullptr));
      }
    }
    if (ended_ == threads_.size()) return;
    const std::string what = stuck();
    forget_fibers();
    tacit::detail::fail(where(), ": ", what);
  }

  // Who runs next: drawn, or the first by rank.
  void choose() {
    if (ranked_)
      std::pop_heap(ready_.begin(), ready_.end(), ByRank{threads_});
    else
      std::swap(ready_[order_.below(ready_.size())], ready_.back());
    running_ = ready_.back();
    ready_.pop_back();
    threadIdx = me().index;
  }

  // A fiber that runs the thread chosen and, when that ends, others that have not started: no switch between those.
  Fiber* idle_fiber(const std::function<void()>& body) {
    if (idle_.empty()) {
      fibers_.push_back(std::make_unique<Fiber>());
      idle_.push_back(fibers_.back().get());
    }
    Fiber* const fiber = idle_.back();
    idle_.pop_back();
    fiber->set_work([this, &body] {
      Fiber* const here = me().fiber;
      for (;;) {
        try {
          body();
        } catch (...) {
          fault_ = std::current_exception();
        }
        me().state = State::Ended;
        ++ended_;
        if (fault_ != nullptr || ready_.empty()) break;
        choose();
        if (me().fiber != nullptr) {  // it waits on a stack of its own
          make_ready(running_);
          break;
        }
        me().fiber = here;
      }
      idle_.push_back(here);
    });
    return fiber;
  }

  // After a fault, for fibers that still stand somewhere in the kernel.
  void forget_fibers() {
    idle_.clear();
    fibers_.clear();
  }

  static std::string text(Site site) { return std::string(site.file) + ":" + std::to_string(site.line); }
  std::string where() const {
    const auto of = [](const auto& i) {
      return "(" + std::to_string(i.x) + ", " + std::to_string(i.y) + ", " + std::to_string(i.z) + ")";
    };
    return "[emulator] " + name_of_kernel(kernel_) + ", block " + of(blockIdx) + " of " + of(gridDim);
  }
  std::string stuck() const {
    std::map<std::string, int> places;
    for (const Thread& t : threads_)
      ++places[t.state == State::Ended       ? "have ended"
               : t.state == State::AtBarrier ? "wait for the block at " + text(t.site)
                                             : "wait for their warp at " + text(t.site)];
    std::string what = "its threads do not meet:";
    for (const auto& [place, threads] : places) what += " " + std::to_string(threads) + " " + place + ";";
    return what;
  }

  std::mutex mutex_;
  Order order_;
  const void* kernel_ = nullptr;
  std::unique_ptr<char, FreeShared> shared_;
  size_t shared_bytes_ = 0;
  std::vector<Thread> threads_;
  std::vector<unsigned> ready_;
  std::vector<unsigned> in_warp_;  // of each warp, the lanes that wait for it
  unsigned running_ = 0;
  bool ranked_ = false;  // how this block's threads are chosen
  size_t at_barrier_ = 0, ended_ = 0;
  std::exception_ptr fault_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_;
};

Multiprocessor& device() {
  static Multiprocessor one;
  return one;
}

}  // namespace

void sync_threads(Site site) { device().barrier(site); }
uint64_t shuffle(unsigned mask, uint64_t bits, unsigned source, Site site) {
  return device().exchange(mask, bits, source, false, site);
}
unsigned ballot(unsigned mask, bool predicate, Site site) {
  return static_cast<unsigned>(device().exchange(mask, predicate, device().lane(), true, site));
}
unsigned lane() { return device().lane(); }
bool draw() { return device().draw(); }
void* dynamic_shared_bytes() { return device().shared(); }

void run(const void* kernel, dim3 grid, dim3 block, size_t shared, CUstream_st* stream, std::function<void()> body) {
  const bool grid_fits =
      grid.x > 0 && grid.y > 0 && grid.z > 0 && grid.x <= 0x7fffffff && grid.y <= 65535 && grid.z <= 65535;
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  if (!grid_fits || threads == 0 || threads > kMostThreads || block.z > 64)
    remember(cudaErrorInvalidConfiguration);
  else if (shared > shared_allowed(kernel))
    remember(cudaErrorInvalidValue);
  else
    enqueue(stream, [=, body = std::move(body)] { device().run_grid(kernel, grid, block, shared, body); });
}

}  // namespace emulator
