#include "nn/eval_mode.h"

namespace tacit::nn {

namespace {

class ModeReader : public Visitor {
 public:
  std::vector<std::pair<Module*, bool>> modes;

 protected:
  void module(const std::string&, Module& m) override { modes.emplace_back(&m, m.training()); }
};

}  // namespace

EvalMode::EvalMode(Module& module) {
  ModeReader reader;
  reader("", module);
  before_ = std::move(reader.modes);
  module.eval();
}

EvalMode::~EvalMode() {
  for (auto& [module, training] : before_) module->train(training);  // parents come first, so parts have the last word
}

}  // namespace tacit::nn
