// The caching allocator: size classes, reuse, statistics, errors.
#include "tensor/caching_allocator.h"

#include <iterator>
#include <map>
#include <thread>
#include <utility>
#include <vector>

#include "tensor/free_blocks.h"
#include "tensor/memory_limit.h"
#include "tensor/ops.h"
#include "tensor/random.h"
#include "tests/values.h"

using namespace tacit;
using namespace tacit::testing;

// Under AddressSanitizer a failing malloc ends the program unless told to fail as usual.
extern "C" const char* __asan_default_options() { return "allocator_may_return_null=1"; }

namespace {

/// Counts what it hands out, and has only so much to give.
class CountingBackend final : public Backend {
 public:
  const char* name() const override { return "counting"; }
  void* allocate(size_t bytes) override {
    TACIT_CHECK(held + bytes <= limit, "[counting] no memory for ", bytes, " bytes");
    held += bytes;
    if (joined) return std::exchange(pretended, pretended + bytes);  // addresses side by side; nothing reads them
    void* const block = ::operator new(bytes);
    blocks[block] = bytes;
    return block;
  }
  void deallocate_joined(void*, size_t bytes) noexcept override { held -= bytes; }
  void deallocate(void* pointer, size_t bytes) noexcept override {
    sizes_match &= blocks.at(pointer) == bytes;
    blocks.erase(pointer);
    held -= bytes;
    ::operator delete(pointer);
  }
  size_t joins_from() const override { return joined ? kJoinStep : SIZE_MAX; }
  void upload(void*, const void*, size_t) override {}
  void download(void*, const void*, size_t) override {}
  int64_t available_memory() const override { return own_memory ? int64_t{1} << 40 : 0; }

  size_t held = 0, limit = size_t{1} << 40;
  std::map<void*, size_t> blocks;
  bool sizes_match = true, own_memory = false, joined = false;
  char* pretended = reinterpret_cast<char*>(size_t{1} << 40);
};

}  // namespace

TEST_CASE("a pool keeps its blocks to itself, whoever frees them, until it is closed") {
  CountingBackend backend;
  CachingAllocator allocator(backend);
  std::vector<void*> live;
  const auto take = [&] {
    live.push_back(allocator.allocate(1000));
    return live.back();
  };
  const auto give = [&](void* block) {
    allocator.deallocate(block, 1000);
    std::erase(live, block);
  };
  void* const before = take();
  void* mine = nullptr;
  allocator.open_pool();
  {
    const PoolScope scope(allocator);
    mine = take();
    give(before);
    CHECK(take() != before);  // which was not the pool's
    void* of_another_thread = nullptr;
    std::thread([&] { of_another_thread = take(); }).join();
    CHECK(of_another_thread == before);
    give(before);
  }
  give(mine);
  CHECK(take() == before);
  CHECK(take() != mine);
  allocator.seal_pool();
  {
    const PoolScope scope(allocator);
    CHECK(take() == mine);
    CHECK(mentions(error_of([&] { take(); }), "1000 bytes that the steps before it did not need"));
  }
  allocator.close_pool();
  give(mine);
  CHECK(take() == mine);
  while (!live.empty()) give(live.back());
}

TEST_CASE("size classes: multiples of 64, at most an eighth too large, falling into few classes") {
  CHECK(CachingAllocator::size_class(0) == 64);
  CHECK(CachingAllocator::size_class(1) == 64);
  CHECK(CachingAllocator::size_class(64) == 64);
  CHECK(CachingAllocator::size_class(65) == 128);
  size_t before = 0;
  for (size_t bytes = 1; bytes < (size_t{1} << 20); bytes += bytes / 37 + 1) {
    const size_t size = CachingAllocator::size_class(bytes);
    REQUIRE(size >= bytes);
    REQUIRE(size % 64 == 0);
    REQUIRE(size >= before);
    REQUIRE(CachingAllocator::size_class(size) == size);
    if (bytes > 512) REQUIRE(size <= bytes + bytes / 8 + 1);
    before = size;
  }
  for (size_t power = 10; power < 40; ++power)
    CHECK(CachingAllocator::size_class(size_t{1} << power) == size_t{1} << power);
}

TEST_CASE("a freed block is handed out again; statistics follow") {
  CountingBackend backend;
  {
    CachingAllocator allocator(backend);
    void* const a = allocator.allocate(1000);  // class 1024
    void* const b = allocator.allocate(1000);
    REQUIRE(a != nullptr);
    CHECK(a != b);
    CHECK(allocator.statistics().live_bytes == 2048);
    CHECK(allocator.statistics().peak_bytes == 2048);
    CHECK(allocator.statistics().system_allocations == 2);
    allocator.deallocate(a, 1000);
    CHECK(allocator.statistics().live_bytes == 1024);
    CHECK(allocator.statistics().reserved_bytes == 2048);
    CHECK(allocator.allocate(1024) == a);  // another size of the same class
    CHECK(allocator.statistics().system_allocations == 2);
    CHECK(allocator.statistics().allocations == 3);
    allocator.deallocate(a, 1024);
    allocator.deallocate(b, 1000);
    CHECK(allocator.statistics().live_bytes == 0);
    CHECK(allocator.statistics().peak_bytes == 2048);
    allocator.reset_peak();
    CHECK(allocator.statistics().peak_bytes == 0);
    void* const nothing = allocator.allocate(0);
    CHECK(nothing != nullptr);
    CHECK(backend.held == 2048 + 64);
    allocator.trim();
    CHECK(backend.held == 64);
    CHECK(allocator.statistics().reserved_bytes == 64);
    allocator.deallocate(nothing, 0);
  }
  CHECK(backend.sizes_match);
  CHECK(backend.held == 0);
}

TEST_CASE("free blocks: cut, joined with their neighbours, never handed out twice") {
  FreeBlocks free;
  std::vector<char> memory(64);  // which bytes are handed out
  char* const base = memory.data();
  std::map<size_t, size_t> taken;
  free.give(base, 64);
  Random random(7, 0);
  for (int i = 0; i < 4000; ++i) {
    const size_t bytes = 1 + random.below(12);
    if (void* const block = random.chance(0.6) ? free.take(bytes) : nullptr) {
      const auto at = static_cast<size_t>(static_cast<char*>(block) - base);
      REQUIRE(at + bytes <= 64);
      for (size_t b = at; b < at + bytes; ++b) REQUIRE(memory[b]++ == 0);
      taken[at] = bytes;
    } else if (!taken.empty()) {
      const auto chosen = std::next(taken.begin(), static_cast<int64_t>(random.below(taken.size())));
      for (size_t b = 0; b < chosen->second; ++b) --memory[chosen->first + b];
      free.give(base + chosen->first, chosen->second);
      taken.erase(chosen);
    }
    // As many free blocks as there are runs of free bytes: all neighbours have joined.
    size_t runs = 0;
    for (size_t b = 0; b < 64; ++b) runs += memory[b] == 0 && (b == 0 || memory[b - 1] != 0);
    REQUIRE(free.count() == runs);
  }
  for (const auto& [at, bytes] : taken) free.give(base + at, bytes);
  CHECK(free.take(65) == nullptr);
  CHECK(free.take(64) == base);
  CHECK(free.take(1) == nullptr);
}

TEST_CASE("large blocks: the smallest that is large enough, cut from its end") {
  FreeBlocks free;
  std::vector<char> memory(100);
  char* const base = memory.data();
  free.give(base, 30);
  free.give(base + 50, 20);
  CHECK(free.take(15) == base + 55);
  CHECK(free.take(6) == base + 24);
  CHECK(free.take(5) == base + 50);
  CHECK(free.count() == 1);
}

TEST_CASE("two small activations, freed, are one large gradient; without joining they are not") {
  for (const bool joined : {true, false}) {
    CountingBackend backend;
    backend.joined = joined;
    CachingAllocator allocator(backend);
    constexpr size_t kSize = 4 * Backend::kJoinStep;
    void* const a = allocator.allocate(kSize - 100);
    void* const b = allocator.allocate(kSize);
    CHECK(allocator.statistics().live_bytes == 2 * kSize);
    allocator.deallocate(a, kSize - 100);
    allocator.deallocate(b, kSize);
    void* const both = allocator.allocate(2 * kSize);
    CHECK(backend.held == (joined ? 2 : 4) * kSize);
    CHECK(allocator.statistics().reserved_bytes == static_cast<int64_t>(backend.held));
    allocator.deallocate(both, 2 * kSize);
    allocator.trim();
    CHECK(backend.held == 0);
  }
}

TEST_CASE("tensors' large blocks on the CPU lie side by side, are written whole, and go back") {
  CachingAllocator& allocator = default_device().allocator();
  if (default_device().backend().joins_from() == SIZE_MAX) return;  // AddressSanitizer watches the heap instead
  allocator.trim();
  const int64_t before = allocator.statistics().reserved_bytes;
  constexpr int64_t kFloats = int64_t{1} << 20;
  {
    Tensor a = Tensor::full({kFloats}, 1), b = Tensor::full({kFloats + 1}, 2);
    a = b = Tensor();
    const int64_t held = allocator.statistics().reserved_bytes;
    CHECK(held - before == 2 * 4 * kFloats + static_cast<int64_t>(Backend::kJoinStep));
    const Tensor both = Tensor::full({2 * kFloats}, 3);
    CHECK(allocator.statistics().reserved_bytes == held);
    CHECK(sum(both.to(f64)).item() == 6.0 * kFloats);
  }
  allocator.trim();
  CHECK(allocator.statistics().reserved_bytes == before);

  // What is left over between two tensors that live is less than a block of its own, and is given back too.
  constexpr int64_t kMore = static_cast<int64_t>(Backend::kJoinStep) / 4;
  Tensor first = Tensor::full({kFloats + kMore}, 1);
  const Tensor behind = Tensor::full({kFloats}, 2);
  first = Tensor();
  first = Tensor::full({kFloats}, 3);
  allocator.trim();
  CHECK(allocator.statistics().reserved_bytes - before == 2 * 4 * kFloats);
  CHECK(sum(first.to(f64)).item() == 3.0 * kFloats);
  CHECK(sum(behind.to(f64)).item() == 2.0 * kFloats);
}

TEST_CASE("when the backend has no more, unused blocks go back first; then it is an Error") {
  CountingBackend backend;
  backend.limit = 4096;
  CachingAllocator allocator(backend);
  void* const a = allocator.allocate(2048);
  allocator.deallocate(a, 2048);
  void* const b = allocator.allocate(4096);  // only fits once a's block is given back
  CHECK(backend.held == 4096);
  CHECK(mentions(error_of([&] { allocator.allocate(100); }), "no memory for 128 bytes"));
  CHECK(allocator.statistics().live_bytes == 4096);
  allocator.deallocate(b, 4096);
  void* const c = allocator.allocate(100);
  CHECK(c != nullptr);
  allocator.deallocate(c, 100);
}

TEST_CASE("steady state: the second step asks the system for nothing") {
  const CachingAllocator& allocator = default_device().allocator();
  const auto step = [] {
    const Tensor x = Tensor::uniform({64, 32}, 1, 2), w = Tensor::uniform({32, 16}, 1, 3);
    return sum(softmax(matmul(x, w)) * 2.0).item();
  };
  const double first = step();
  const int64_t live = allocator.statistics().live_bytes, system = allocator.statistics().system_allocations;
  for (int i = 0; i < 5; ++i) CHECK(step() == first);
  CHECK(allocator.statistics().system_allocations == system);
  CHECK(allocator.statistics().live_bytes == live);
}

TEST_CASE("more memory than there is: an Error that names the size") {
  for (const char* name : {"cpu", "reference"}) {
    const std::string message = error_of([&] { Tensor::empty({int64_t{1} << 55}, f64, Device(name)); });  // 2^58 bytes
    CHECK(mentions(message, std::to_string(int64_t{1} << 58)));
  }
}

TEST_CASE("memory limit: blocks kept for reuse are given back first, then what passes it is an Error") {
  CountingBackend backend;
  CachingAllocator allocator(backend);
  const int64_t before = reserved_memory();
  void* const kept = allocator.allocate(1 << 20);
  allocator.deallocate(kept, 1 << 20);  // held for reuse
  CHECK(reserved_memory() == before + (1 << 20));
  {
    const MemoryLimitScope scope(1 << 20);
    void* const larger = allocator.allocate(2 << 20);  // fits once the first is given back
    CHECK(backend.held == size_t{2} << 20);
    CHECK_THROWS_AS(allocator.allocate(1 << 10), MemoryLimitError);
    {
      const MemoryLimitScope wider(1 << 30);  // a scope inside never allows more
      CHECK_THROWS_AS(allocator.allocate(1 << 10), MemoryLimitError);
    }
    allocator.deallocate(larger, 2 << 20);
    CHECK(allocator.allocate(2 << 20) == larger);  // reuse takes nothing new
    allocator.deallocate(larger, 2 << 20);
  }
  void* const after = allocator.allocate(4 << 20);
  CHECK(after != nullptr);
  allocator.deallocate(after, 4 << 20);
  allocator.trim();
  CHECK(reserved_memory() == before);
  CHECK(allocator.statistics().live_bytes == 0);
}

TEST_CASE("a device with memory of its own: its allocator's limit, and nothing of it in the count of main memory") {
  CountingBackend backend;
  backend.own_memory = true;
  CachingAllocator allocator(backend);
  const int64_t before = reserved_memory();
  const MemoryLimitScope none(0);
  allocator.set_limit(4096);
  void* const first = allocator.allocate(2048);
  CHECK(reserved_memory() == before);
  CHECK(allocator.statistics().reserved_bytes == 2048);
  CHECK_THROWS_AS(allocator.allocate(4096), MemoryLimitError);
  allocator.deallocate(first, 2048);
  void* const second = allocator.allocate(4096);  // the unused block made room
  CHECK(allocator.statistics().reserved_bytes == 4096);
  allocator.deallocate(second, 4096);
}
