// EvalMode: evaluation mode for a scope. The rule: afterwards every part is in the mode it was in, also parts that were
// frozen in evaluation mode inside a module that trains.
#pragma once

#include <utility>
#include <vector>

#include "nn/module.h"

namespace tacit::nn {

/// Puts a module into evaluation mode and, when it goes, every part of it back into the mode that it was in.
class EvalMode {
 public:
  explicit EvalMode(Module& module);
  ~EvalMode();
  EvalMode(const EvalMode&) = delete;
  EvalMode& operator=(const EvalMode&) = delete;

 private:
  std::vector<std::pair<Module*, bool>> before_;
};

}  // namespace tacit::nn
