// The entry point of every test binary. TACIT_TEST_DEVICE names the device that tensors go to unless a test says
// otherwise; where it does not start, the whole binary is skipped with the reason.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tensor/device.h"

int main(int argc, char** argv) {
  constexpr int kSkipped = 77;
  if (const char* const name = std::getenv("TACIT_TEST_DEVICE")) try {
      tacit::set_default_device(tacit::Device(name));
    } catch (const tacit::Error& error) {
      const bool lacks = std::strstr(error.what(), "no usable GPU") != nullptr;  // any other reason is a fault
      std::printf("%s: tests on %s: %s\n", lacks ? "skipped" : "error", name, error.what());
      return lacks ? kSkipped : 1;
    }
  return doctest::Context(argc, argv).run();
}
