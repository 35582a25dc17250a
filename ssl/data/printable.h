// Names of files in messages and lists. The rule: a name is shown as one line, whatever it holds.
#pragma once

#include <string>

namespace tacit::ssl {

/// A file name as one line of text that cannot command a terminal: control characters as \n, \x1b, …, and \ as \\.
std::string printable(const std::string& name);

}  // namespace tacit::ssl
