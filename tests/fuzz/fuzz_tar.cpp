#include "ssl/data/sources.h"
#include "tests/fuzz/input.h"

// The index of a tar, and what it says of each of its images.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return tacit::fuzz::read_as_file(data, size, "f.tar", [](const std::string& path) {
    const auto source = tacit::ssl::open_tar(path, tacit::ssl::Split::All, {.max_pixels = 1 << 16}).source;
    for (int64_t i = 0; i < source->size(); ++i) {
      source->file(i);
      source->label(i);
      try {
        source->image_for(i, 8);
      } catch (const tacit::Error&) {  // on to the next one
      }
    }
  });
}
