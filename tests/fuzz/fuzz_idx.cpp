// The first byte divides the input between the images' file and the labels'.
#include <filesystem>

#include "ssl/data/sources.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const size_t middle = 1 + (size - 1) * data[0] / 256;
  const std::string directory = "/dev/shm/tacit-fuzz-" + std::to_string(getpid()) + "-idx";
  std::filesystem::create_directories(directory);
  const auto write = [&](const char* name, size_t begin, size_t end) {
    std::ofstream(directory + name, std::ios::binary)
        .write(reinterpret_cast<const char*>(data + begin), static_cast<std::streamsize>(end - begin));
  };
  write("/train-images-idx3-ubyte", 1, middle);
  write("/train-labels-idx1-ubyte", middle, size);
  try {
    tacit::ssl::open_idx(directory, tacit::ssl::Split::Train);
  } catch (const tacit::Error&) {
  }
  return 0;
}
