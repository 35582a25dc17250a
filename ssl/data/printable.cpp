#include "ssl/data/printable.h"

#include <cstdio>

namespace tacit::ssl {

std::string printable(const std::string& name) {
  std::string text;
  for (const char c : name) {
    const auto code = static_cast<unsigned char>(c);
    char escaped[8];
    std::snprintf(escaped, sizeof escaped, "\\x%02x", code);
    if (c == '\n')
      text += "\\n";
    else if (c == '\\')
      text += "\\\\";
    else
      text += code < 32 || code == 127 ? std::string(escaped) : std::string(1, c);
  }
  return text;
}

}  // namespace tacit::ssl
