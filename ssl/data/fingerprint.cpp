#include "ssl/data/fingerprint.h"

#include <zlib.h>

#include <algorithm>
#include <cstdio>

#include "tensor/error.h"

namespace tacit::ssl {

std::string data_fingerprint(const ImageSource& source) {
  uLong crc = crc32_z(0, nullptr, 0);
  const auto add = [&crc](const void* data, size_t bytes) {
    crc = crc32_z(crc, static_cast<const Bytef*>(data), bytes);
  };
  const int64_t n = source.size(), sampled = std::min<int64_t>(n, 64);
  for (int64_t k = 0; k < sampled; ++k) {
    const int64_t i = k * n / sampled, label = source.label(i).value_or(-1);
    add(&label, sizeof label);
    try {
      const std::string file = source.file(i), name = file.substr(file.rfind('/') + 1);
      add(name.data(), name.size());
      if (!name.empty()) continue;
      const Image image = source.image(i);
      add(image.pixels.data(), image.pixels.size());
    } catch (const Error&) {  // a damaged file says nothing
    }
  }
  char text[16];
  std::snprintf(text, sizeof text, "%08lx", crc);
  return text;
}

}  // namespace tacit::ssl
