// Counts in messages: "1 image", "2 images".
#pragma once

#include <cstdint>
#include <string>

namespace tacit {

/// "1 image", "0 images", "12 images". `many`: the plural, where it is not the singular and an s.
inline std::string counted(int64_t n, const std::string& one, const std::string& many = "") {
  return std::to_string(n) + " " + (n == 1 ? one : many.empty() ? one + "s" : many);
}
inline std::string counted(size_t n, const std::string& one, const std::string& many = "") {
  return counted(static_cast<int64_t>(n), one, many);
}

}  // namespace tacit
