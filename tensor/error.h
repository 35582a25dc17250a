// The one exception type, and the check that throws it.
// Messages read "[op] what is wrong: the values", followed by the remedy where one is known.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace tacit {

/// Everything that tacit refuses. `what()` is one line meant for the user.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

namespace detail {
template <class... Parts>
[[noreturn]] __attribute__((noinline, cold)) void fail(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  throw Error(text.str());
}
}  // namespace detail

}  // namespace tacit

/// Throws tacit::Error with the streamed parts when the condition does not hold; the parts are formatted only then.
#define TACIT_CHECK(condition, ...)       \
  do {                                    \
    if (!(condition)) [[unlikely]]        \
      ::tacit::detail::fail(__VA_ARGS__); \
  } while (false)
