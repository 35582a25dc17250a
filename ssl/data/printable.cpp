#include "ssl/data/printable.h"

#include <algorithm>
#include <cstdio>

namespace tacit::ssl {

namespace {

/// Bytes of the character that begins at `at` in valid UTF-8 (RFC 3629), else 0.
size_t character(const std::string& text, size_t at) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const unsigned lead = byte(at);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xc2 && lead < 0xe0   ? 2
                        : lead >= 0xe0 && lead < 0xf0 ? 3
                        : lead >= 0xf0 && lead < 0xf5 ? 4
                                                      : 0;
  for (size_t i = 1; i < length; ++i)
    if ((byte(at + i) & 0xc0) != 0x80) return 0;
  const unsigned second = byte(at + 1);
  const bool overlong = (lead == 0xe0 && second < 0xa0) || (lead == 0xf0 && second < 0x90);
  const bool outside = (lead == 0xed && second >= 0xa0) || (lead == 0xf4 && second >= 0x90);  // surrogates, too large
  return overlong || outside ? 0 : length;
}

std::string escaped(char c) {
  char text[8];
  std::snprintf(text, sizeof text, "\\x%02x", static_cast<unsigned char>(c));
  return text;
}

/// `text` with every control character, of which a terminal obeys U+0080 to U+009F too, and every stray byte escaped,
/// but for the characters of `kept`; and \ where `backslash`.
std::string escape(const std::string& text, const std::string& kept, bool backslash) {
  std::string shown;
  for (size_t at = 0; at < text.size();) {
    const size_t length = character(text, at), step = std::max<size_t>(1, length);
    const auto first = static_cast<unsigned char>(text[at]);
    const bool control =
        first < 32 || first == 127 || (length == 2 && first == 0xc2 && static_cast<unsigned char>(text[at + 1]) < 0xa0);
    if (kept.find(text[at]) != std::string::npos)
      shown += text[at];
    else if (text[at] == '\n')
      shown += "\\n";
    else if (text[at] == '\\' && backslash)
      shown += "\\\\";
    else if (length > 0 && !control)
      shown += text.substr(at, length);
    else
      for (size_t i = 0; i < step; ++i) shown += escaped(text[at + i]);
    at += step;
  }
  return shown;
}

}  // namespace

std::string printable(const std::string& name) { return escape(name, "", true); }
std::string printable_text(const std::string& text) { return escape(text, "\n\t", false); }

}  // namespace tacit::ssl
