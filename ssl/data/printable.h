// Names of files in messages and lists. The rule: a name is shown as one line, whatever it holds.
#pragma once

#include <string>

namespace tacit::ssl {

/// A file name as one line of valid UTF-8 that cannot command a terminal: control characters and stray bytes as \n,
/// \x1b, …, and \ as \\.
std::string printable(const std::string& name);
/// The same for a text of several lines, which may quote names: newlines, tabs and \ stay.
std::string printable_text(const std::string& text);

}  // namespace tacit::ssl
