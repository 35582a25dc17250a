// What several runs are called side by side.
#pragma once

#include <string>
#include <vector>

namespace tacit::cli {

/// The end of each path that no other path has, in whole parts: {"a/run", "b/run", "c/x"} -> the same but "x". The same
/// directory given twice has its whole path twice.
std::vector<std::string> distinguishing_names(const std::vector<std::string>& paths);

}  // namespace tacit::cli
