// Encoder: any network from images to feature vectors, as one copyable value, and the table of those known by name.
// Adding one: write the module, give it features() and a line in encoder.cpp's table.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "nn/module.h"

namespace tacit::nn {

struct EncoderOptions {
  std::string name = "resnet18";  ///< resnet18 resnet34 resnet50 small_cnn
  int64_t width = 0;              ///< channels of the first stage; 0: the published one (64; small_cnn 32)
  std::string stem = "auto";      ///< cifar, imagenet, or auto: cifar for images up to 64 pixels
  int64_t image_size = 32;
  int64_t channels = 3;
  uint64_t seed = 0;              ///< of the initial weights
};

/// Holds a module M with `Variable operator()(const Variable&)` (images (N,H,W,C) -> (N, D)) and `int64_t features()`.
class Encoder : public Module {
 public:
  template <class M>
  explicit Encoder(M module) : held_(std::make_unique<Held<M>>(std::move(module))) {}
  Encoder(const Encoder& other) : Module(other), held_(other.held_->clone()) {}
  Encoder(Encoder&&) noexcept = default;
  /// Images (N, H, W, C) to features (N, features()).
  Variable operator()(const Variable& images) { return held_->forward(images); }
  int64_t features() const { return held_->features(); }
  /// The held module's members, under their own names (torchvision's): no prefix.
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
    virtual Variable forward(const Variable&) = 0;
    virtual int64_t features() const = 0;
    virtual Module& module() = 0;
  };
  template <class M>
  struct Held final : Base {
    explicit Held(M m) : value(std::move(m)) {}
    std::unique_ptr<Base> clone() const override { return std::make_unique<Held>(value); }
    Variable forward(const Variable& x) override { return value(x); }
    int64_t features() const override { return value.features(); }
    Module& module() override { return value; }
    M value;
  };
  std::unique_ptr<Base> held_;
};

/// Throws Error listing the known names.
Encoder make_encoder(const EncoderOptions&);
std::vector<std::string> encoder_names();

}  // namespace tacit::nn
