#include "tensor/safetensors.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return tacit::fuzz::read_as_file(data, size, "f.safetensors",
                                   [](const std::string& path) { tacit::read_safetensors(path); });
}
