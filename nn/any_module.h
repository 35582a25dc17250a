// AnyModule: some module from one Variable to one Variable, as a copyable value. Sequential and Encoder are made of it.
// The rule: assignment needs the same type of module on both sides and writes into the existing leaves.
#pragma once

#include <memory>
#include <typeinfo>

#include "nn/module.h"

namespace tacit::nn {

class AnyModule : public Module {
 public:
  template <class M>
  requires std::is_base_of_v<Module, M>
  explicit AnyModule(M module) : held_(std::make_unique<Held<M>>(std::move(module))) {}
  AnyModule(const AnyModule& other) : Module(other), held_(other.held_->clone()) {}
  AnyModule(AnyModule&&) noexcept = default;
  AnyModule& operator=(const AnyModule& other) {
    Module::operator=(other);
    held_->assign(*other.held_);
    return *this;
  }

  Variable operator()(const Variable& x) { return held_->forward(x); }
  /// The held module's members under their own names: no prefix.
  void visit(Visitor& v) override { v("", held_->module()); }
  /// The held module itself, if it is an M; else null.
  template <class M>
  M* as() {
    return dynamic_cast<M*>(&held_->module());
  }

 private:
  struct Base {
    virtual ~Base() = default;
    virtual std::unique_ptr<Base> clone() const = 0;
    virtual void assign(const Base&) = 0;
    virtual Variable forward(const Variable&) = 0;
    virtual Module& module() = 0;
  };
  template <class M>
  struct Held final : Base {
    explicit Held(M m) : value(std::move(m)) {}
    std::unique_ptr<Base> clone() const override { return std::make_unique<Held>(value); }
    void assign(const Base& other) override {
      const auto* same = dynamic_cast<const Held*>(&other);
      TACIT_CHECK(same, "[module] the two modules are of different types");
      value = same->value;
    }
    Variable forward(const Variable& x) override { return value(x); }
    Module& module() override { return value; }
    M value;
  };
  std::unique_ptr<Base> held_;
};

}  // namespace tacit::nn
