// A fiber: a stack of its own that code runs on until it gives way, and goes on later where it was.
// The rule: whoever enters a fiber gets control back by the fiber's leave(), never otherwise; one OS thread at a time.
#pragma once

#include <cstddef>
#include <functional>

namespace emulator {

class Fiber {
 public:
  Fiber();
  ~Fiber();  ///< what stood on its stack is forgotten, not destroyed
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// What the next enter() of an idle fiber runs.
  void set_work(std::function<void()> work) { work_ = std::move(work); }
  /// Runs the work, or the rest of it, until leave() or its end. The work may not throw.
  void enter();
  /// From inside: back to whoever entered.
  void leave();

  struct Context;  ///< where a stack was left

 private:
  static void main_loop(Fiber* self);

  char* memory_;  ///< a guard page and the stack
  Context *inside_, *outside_;
  std::function<void()> work_;
};

}  // namespace emulator
