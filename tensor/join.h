// Lists in messages: "a, b, c" and "a, b and 7 more".
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace tacit {

/// The elements of a range with commas between them. `text_of` makes a string of an element; a pointer to a member will
/// do.
template <class Range, class TextOf = std::identity>
std::string join(const Range& range, const TextOf& text_of = {}) {
  std::string text;
  bool first = true;
  for (const auto& element : range) {
    if (!first) text += ", ";
    first = false;
    text += std::invoke(text_of, element);
  }
  return text;
}

/// "a, b and 7 more": the first `most` of a list, and how many are not shown.
inline std::string first_of(const std::vector<std::string>& list, size_t most) {
  if (list.size() <= most) return join(list);
  return join(std::vector<std::string>(list.begin(), list.begin() + static_cast<std::ptrdiff_t>(most))) + " and " +
         std::to_string(list.size() - most) + " more";
}

}  // namespace tacit
