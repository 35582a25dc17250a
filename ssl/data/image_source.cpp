#include "ssl/data/image_source.h"

#include <algorithm>
#include <numeric>

#include "ssl/data/kinds.h"
#include "tensor/random.h"

namespace tacit::ssl {

namespace {

class InMemory final : public ImageSource {
 public:
  explicit InMemory(ImagesInMemory data) : data_(std::move(data)) {}
  int64_t size() const override { return static_cast<int64_t>(data_.labels.size()); }
  Image image(int64_t i) const override {
    const int64_t bytes = data_.height * data_.width * data_.channels;
    const auto first = data_.pixels.begin() + i * bytes;
    return {data_.height, data_.width, data_.channels, std::vector<uint8_t>(first, first + bytes)};
  }
  std::optional<int64_t> label(int64_t i) const override { return data_.labels[static_cast<size_t>(i)]; }
  int64_t channels() const override { return data_.channels; }
  std::pair<int64_t, int64_t> image_size() const override { return {data_.height, data_.width}; }
  std::vector<std::string> class_names() const override { return data_.class_names; }

 private:
  ImagesInMemory data_;
};

class Subset final : public ImageSource {
 public:
  Subset(ImageSourcePtr source, std::vector<int64_t> indices)
      : source_(std::move(source)), indices_(std::move(indices)) {}
  int64_t size() const override { return static_cast<int64_t>(indices_.size()); }
  Image image(int64_t i) const override { return source_->image(at(i)); }
  std::optional<int64_t> label(int64_t i) const override { return source_->label(at(i)); }
  std::string file(int64_t i) const override { return source_->file(at(i)); }
  int64_t channels() const override { return source_->channels(); }
  std::pair<int64_t, int64_t> image_size() const override { return source_->image_size(); }
  std::vector<std::string> class_names() const override { return source_->class_names(); }

 private:
  int64_t at(int64_t i) const { return indices_[static_cast<size_t>(i)]; }
  ImageSourcePtr source_;
  std::vector<int64_t> indices_;
};

class Concatenation final : public ImageSource {
 public:
  explicit Concatenation(std::vector<ImageSourcePtr> parts) : parts_(std::move(parts)) {
    for (const ImageSourcePtr& part : parts_) {
      const std::vector<std::string> names = part->class_names();
      TACIT_CHECK(names.empty() || class_names_.empty() || names == class_names_,
                  "[data] the sets' classes differ: ", listed(class_names_), " and ", listed(names),
                  "; use sets of the same classes, or --no-labels");
      if (class_names_.empty()) class_names_ = names;
      ends_.push_back((ends_.empty() ? 0 : ends_.back()) + part->size());
    }
  }
  int64_t size() const override { return ends_.back(); }
  Image image(int64_t i) const override { return parts_[part_of(i)]->image(within(i)); }
  std::optional<int64_t> label(int64_t i) const override { return parts_[part_of(i)]->label(within(i)); }
  std::string file(int64_t i) const override { return parts_[part_of(i)]->file(within(i)); }
  int64_t channels() const override {
    int64_t most = 1;
    for (const ImageSourcePtr& part : parts_) most = std::max(most, part->channels());
    return most;
  }
  std::pair<int64_t, int64_t> image_size() const override {
    const auto size = parts_[0]->image_size();
    for (const ImageSourcePtr& part : parts_)
      if (part->image_size() != size) return {0, 0};
    return size;
  }
  std::vector<std::string> class_names() const override { return class_names_; }

 private:
  static std::string listed(const std::vector<std::string>& names) {
    constexpr size_t kShown = 3;
    std::string text = std::to_string(names.size()) + " classes (";
    for (size_t i = 0; i < std::min(kShown, names.size()); ++i) text += (i ? ", " : "") + names[i];
    return text + (names.size() > kShown ? ", …)" : ")");
  }
  size_t part_of(int64_t i) const {
    return static_cast<size_t>(std::upper_bound(ends_.begin(), ends_.end(), i) - ends_.begin());
  }
  int64_t within(int64_t i) const {
    const size_t part = part_of(i);
    return part == 0 ? i : i - ends_[part - 1];
  }
  std::vector<ImageSourcePtr> parts_;
  std::vector<int64_t> ends_;
  std::vector<std::string> class_names_;
};

}  // namespace

Image to_channels(const Image& image, int64_t channels) {
  TACIT_CHECK(channels == 1 || channels == 3, "[image] the number of channels must be 1 or 3, got ", channels);
  TACIT_CHECK(image.channels == 1 || image.channels == 3 || image.channels == 4,
              "[image] the number of channels must be 1, 3 or 4, got ", image.channels);
  if (image.channels == channels) return image;
  Image out{image.height, image.width, channels, {}};
  const int64_t pixels = image.height * image.width;
  out.pixels.resize(static_cast<size_t>(pixels * channels));
  for (int64_t p = 0; p < pixels; ++p) {
    const uint8_t* from = image.pixels.data() + p * image.channels;
    uint8_t* to = out.pixels.data() + p * channels;
    const uint32_t alpha = image.channels == 4 ? from[3] : 255;
    uint8_t rgb[3];
    for (int c = 0; c < 3; ++c) rgb[c] = static_cast<uint8_t>((from[image.channels == 1 ? 0 : c] * alpha + 127) / 255);
    if (channels == 3)
      std::copy(rgb, rgb + 3, to);
    else
      to[0] = static_cast<uint8_t>((299 * rgb[0] + 587 * rgb[1] + 114 * rgb[2] + 500) / 1000);
  }
  return out;
}

ImageSourcePtr subset(ImageSourcePtr source, std::vector<int64_t> indices) {
  for (const int64_t i : indices)
    TACIT_CHECK(i >= 0 && i < source->size(), "[subset] index ", i, " is outside of the ", source->size(), " images");
  return std::make_shared<Subset>(std::move(source), std::move(indices));
}

ImageSourcePtr in_memory(ImagesInMemory data) { return std::make_shared<InMemory>(std::move(data)); }

ImageSourcePtr concatenate(std::vector<ImageSourcePtr> parts) {
  TACIT_CHECK(!parts.empty(), "[data] nothing to concatenate");
  if (parts.size() == 1) return parts[0];
  return std::make_shared<Concatenation>(std::move(parts));
}

std::vector<int64_t> labels_of(const ImageSource& source) {
  std::vector<int64_t> labels(static_cast<size_t>(source.size()));
  for (size_t i = 0; i < labels.size(); ++i) labels[i] = source.label(static_cast<int64_t>(i)).value_or(-1);
  return labels;
}

std::vector<std::string> numbered_classes(int64_t n) {
  std::vector<std::string> names;
  for (int64_t i = 0; i < n; ++i) names.push_back(std::to_string(i));
  return names;
}

std::vector<int64_t> permutation(int64_t n, uint64_t seed, uint64_t stream) {
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), int64_t{0});
  Random random(seed, stream);
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  return order;
}

}  // namespace tacit::ssl
