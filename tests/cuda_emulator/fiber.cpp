#include "tests/cuda_emulator/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <new>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

// The address sanitizer keeps track of which stack is in use.
#if defined(__SANITIZE_ADDRESS__)
#define EMULATOR_ASAN
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EMULATOR_ASAN
#endif
#endif
#ifdef EMULATOR_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace emulator {

namespace {
constexpr size_t kGuardBytes = size_t{64} << 10, kStackBytes = size_t{256} << 10;
}

#if defined(__x86_64__)

// A switch saves the registers that a function must preserve on the stack it leaves, and takes up the other one's.
struct Fiber::Context {
  void* stack_pointer = nullptr;
};
extern "C" void tacit_emulator_switch(void** leave, void* enter);
asm(R"(
  .text
  .type tacit_emulator_switch, @function
tacit_emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size tacit_emulator_switch, . - tacit_emulator_switch
)");

namespace {
void switch_to(Fiber::Context& leave, Fiber::Context& enter) {
  tacit_emulator_switch(&leave.stack_pointer, enter.stack_pointer);
}
// The first switch "returns" to the start of `entry`, which finds a zero where its caller's address would be.
void prepare(Fiber::Context& context, char* stack, void (*entry)()) {
  auto* top = reinterpret_cast<uintptr_t*>(stack + kStackBytes);
  *--top = 0;
  *--top = reinterpret_cast<uintptr_t>(entry);
  for (int saved = 0; saved < 6; ++saved) *--top = 0;
  context.stack_pointer = top;
}
}  // namespace

#else  // portable, with two system calls a switch

struct Fiber::Context {
  ucontext_t state;
};
namespace {
void switch_to(Fiber::Context& leave, Fiber::Context& enter) { swapcontext(&leave.state, &enter.state); }
void prepare(Fiber::Context& context, char* stack, void (*entry)()) {
  getcontext(&context.state);
  context.state.uc_stack.ss_sp = stack;
  context.state.uc_stack.ss_size = kStackBytes;
  context.state.uc_link = nullptr;
  makecontext(&context.state, entry, 0);
}
}  // namespace

#endif

namespace {

Fiber* entering = nullptr;  // the fiber that a first switch starts

#ifdef EMULATOR_ASAN
const void* outside_bottom = nullptr;
size_t outside_size = 0;
// The sanitizer is told before a switch which stack comes, and after it that it came.
void before_switch(void** keep, const void* bottom, size_t size) { __sanitizer_start_switch_fiber(keep, bottom, size); }
void after_switch(void* kept, const void** bottom, size_t* size) {
  __sanitizer_finish_switch_fiber(kept, bottom, size);
}
#else
const void* outside_bottom = nullptr;
size_t outside_size = 0;
void before_switch(void**, const void*, size_t) {}
void after_switch(void*, const void**, size_t*) {}
#endif

}  // namespace

Fiber::Fiber() : inside_(new Context), outside_(new Context) {
  void* const memory = mmap(nullptr, kGuardBytes + kStackBytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  mprotect(memory, kGuardBytes, PROT_NONE);  // a stack that overflows stops the program
  memory_ = static_cast<char*>(memory);
  prepare(*inside_, memory_ + kGuardBytes, [] { main_loop(entering); });
}

Fiber::~Fiber() {
#ifdef EMULATOR_ASAN
  __asan_unpoison_memory_region(memory_ + kGuardBytes, kStackBytes);
#endif
  munmap(memory_, kGuardBytes + kStackBytes);
  delete inside_;
  delete outside_;
}

void Fiber::main_loop(Fiber* self) {
  after_switch(nullptr, &outside_bottom, &outside_size);
  for (;;) {
    self->work_();
    self->leave();
  }
}

void Fiber::enter() {
  entering = this;
  void* kept = nullptr;
  before_switch(&kept, memory_ + kGuardBytes, kStackBytes);
  switch_to(*outside_, *inside_);
  after_switch(kept, nullptr, nullptr);
}

void Fiber::leave() {
  void* kept = nullptr;
  before_switch(&kept, outside_bottom, outside_size);
  switch_to(*inside_, *outside_);
  after_switch(kept, &outside_bottom, &outside_size);
}

}  // namespace emulator
