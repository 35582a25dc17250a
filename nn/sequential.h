// ModuleList and Sequential: modules in a row, named "0", "1", … as in torch.
// The rule: assignment writes element into element, so both sides must have the same length.
#pragma once

#include <vector>

#include "nn/any_module.h"

namespace tacit::nn {

/// Modules of one kind, named 0, 1, … in files.
template <class M>
class ModuleList : public Module {
 public:
  ModuleList() = default;
  ModuleList(const ModuleList&) = default;
  ModuleList(ModuleList&&) noexcept = default;
  ModuleList& operator=(const ModuleList& other) {
    TACIT_CHECK(size() == other.size(), "[module] a list of ", other.size(), " modules is assigned to one of ", size());
    Module::operator=(other);
    for (size_t i = 0; i < modules_.size(); ++i) modules_[i] = other.modules_[i];
    return *this;
  }

  void add(M module) { modules_.push_back(std::move(module)); }
  size_t size() const { return modules_.size(); }
  M& operator[](size_t i) { return modules_.at(i); }
  auto begin() { return modules_.begin(); }
  auto end() { return modules_.end(); }
  void visit(Visitor& v) override {
    for (size_t i = 0; i < modules_.size(); ++i) v(std::to_string(i), modules_[i]);
  }

 private:
  std::vector<M> modules_;
};

/// Each module's output is the next one's input: Sequential net(Linear(4, 8), ReLU(), Linear(8, 2)).
class Sequential : public Module {
 public:
  template <class... M>
  requires(std::is_base_of_v<Module, M>&&...) explicit Sequential(M... modules) { (add(std::move(modules)), ...); }

  template <class M>
  void add(M module) {
    modules_.add(AnyModule(std::move(module)));
  }
  Variable operator()(const Variable& x) {
    Variable y = x;
    for (AnyModule& module : modules_) y = module(y);
    return y;
  }
  size_t size() const { return modules_.size(); }
  AnyModule& operator[](size_t i) { return modules_[i]; }
  void visit(Visitor& v) override { v("", modules_); }

 private:
  ModuleList<AnyModule> modules_;
};

}  // namespace tacit::nn
