// Checks of settings: each throws UsageError naming the flag, what it may be and what it is.
#pragma once

#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

#include "ssl/train/settings.h"
#include "tensor/join.h"

namespace tacit::ssl {

inline void check(bool condition, const std::string& message) {
  if (!condition) throw UsageError(message);
}

/// f(), with an Error of it as a UsageError after `flag` ("--data: "; may be ""): for what flags alone decide.
template <class F>
void as_usage(const std::string& flag, F&& f) {
  try {
    f();
  } catch (const Error& e) {
    throw UsageError(flag + e.what());
  }
}

inline void check_choice(const char* flag, const std::string& value, const std::vector<std::string>& known) {
  check(std::find(known.begin(), known.end(), value) != known.end(),
        std::string("--") + flag + ": unknown value '" + value + "'; known: " + join(known));
}

template <class T>
void check_range(const char* flag, T value, T low, T high) {
  std::ostringstream text;
  text << "--" << flag << " must lie between " << low << " and " << high << ", got " << value;
  check(value >= low && value <= high, text.str());
}

}  // namespace tacit::ssl
