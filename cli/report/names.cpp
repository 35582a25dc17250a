#include "cli/report/names.h"

#include <algorithm>
#include <filesystem>

namespace tacit::cli {

namespace {

/// The parts of an absolute path, without "." and "..", the root first.
std::vector<std::string> parts_of(const std::string& path) {
  std::vector<std::string> parts;
  for (const auto& part : std::filesystem::absolute(path).lexically_normal())
    if (!part.empty()) parts.push_back(part.string());
  return parts;
}

std::vector<std::string> last_of(const std::vector<std::string>& parts, size_t count) {
  return {parts.end() - static_cast<std::ptrdiff_t>(std::min(count, parts.size())), parts.end()};
}

}  // namespace

std::vector<std::string> distinguishing_names(const std::vector<std::string>& paths) {
  std::vector<std::vector<std::string>> all;
  for (const std::string& path : paths) all.push_back(parts_of(path));
  std::vector<std::string> names;
  for (const auto& parts : all) {
    size_t count = 1;
    const auto shared = [&] {
      return std::count_if(all.begin(), all.end(),
                           [&](const auto& other) { return last_of(other, count) == last_of(parts, count); }) > 1;
    };
    while (count < parts.size() && shared()) ++count;
    std::filesystem::path name;
    for (const std::string& part : last_of(parts, count)) name /= part;
    names.push_back(name.string());
  }
  return names;
}

}  // namespace tacit::cli
