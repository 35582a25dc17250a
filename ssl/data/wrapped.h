// A source that is another one with something changed: everything not overridden is the other's.
#pragma once

#include "ssl/data/image_source.h"

namespace tacit::ssl {

class Wrapped : public ImageSource {
 public:
  explicit Wrapped(ImageSourcePtr whole) : whole_(std::move(whole)) {}
  int64_t size() const override { return whole_->size(); }
  Image image(int64_t i) const override { return whole_->image(i); }
  Image image_for(int64_t i, int64_t side) const override { return whole_->image_for(i, side); }
  std::optional<int64_t> label(int64_t i) const override { return whole_->label(i); }
  std::string file(int64_t i) const override { return whole_->file(i); }
  int64_t encoded_bytes(int64_t i) const override { return whole_->encoded_bytes(i); }
  int64_t channels() const override { return whole_->channels(); }
  std::pair<int64_t, int64_t> image_size() const override { return whole_->image_size(); }
  std::vector<std::string> class_names() const override { return whole_->class_names(); }
  std::vector<int64_t> order(uint64_t seed, int64_t epoch) const override { return whole_->order(seed, epoch); }
  bool has_own_order() const override { return whole_->has_own_order(); }
  uint64_t identity() const override { return whole_->identity(); }

 protected:
  ImageSourcePtr whole_;
};

}  // namespace tacit::ssl
