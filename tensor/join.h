// Lists in messages: "a, b, c".
#pragma once

#include <functional>
#include <string>

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

}  // namespace tacit
