#include "ssl/data/decode.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return tacit::fuzz::read_as_file(data, size, "f.image",
                                   [](const std::string& path) { tacit::ssl::decode_file(path, 1 << 20); });
}
