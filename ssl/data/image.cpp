// Conversion between numbers of channels, and images held in memory.
#include <algorithm>

#include "ssl/data/sources.h"
#include "tensor/augment_math.h"
#include "tensor/error.h"

namespace tacit::ssl {

namespace {

class MemorySource final : public ImageSource {
 public:
  MemorySource(std::vector<uint8_t> pixels, std::vector<int64_t> labels, int64_t h, int64_t w, int64_t c,
               std::vector<std::string> names)
      : pixels_(std::move(pixels)), labels_(std::move(labels)), h_(h), w_(w), c_(c), names_(std::move(names)) {}
  int64_t size() const override { return static_cast<int64_t>(labels_.size()); }
  Image image(int64_t i) const override {
    const int64_t bytes = h_ * w_ * c_;
    const auto first = pixels_.begin() + i * bytes;
    return {h_, w_, c_, std::vector<uint8_t>(first, first + bytes)};
  }
  std::optional<int64_t> label(int64_t i) const override { return labels_[static_cast<size_t>(i)]; }
  int64_t channels() const override { return c_; }
  std::pair<int64_t, int64_t> image_size() const override { return {h_, w_}; }
  std::vector<std::string> class_names() const override { return names_; }

 private:
  std::vector<uint8_t> pixels_;
  std::vector<int64_t> labels_;
  int64_t h_, w_, c_;
  std::vector<std::string> names_;
};

}  // namespace

ImageSourcePtr memory_source(std::vector<uint8_t> pixels, std::vector<int64_t> labels, int64_t height, int64_t width,
                             int64_t channels, std::vector<std::string> class_names) {
  return std::make_shared<MemorySource>(std::move(pixels), std::move(labels), height, width, channels,
                                        std::move(class_names));
}

Image to_channels(const Image& image, int64_t channels) {
  TACIT_CHECK(channels == 1 || channels == 3, "[image] channels must be 1 or 3, got ", channels);
  if (image.channels == channels) return image;
  Image out{image.height, image.width, channels, {}};
  const int64_t n = image.height * image.width;
  out.pixels.resize(static_cast<size_t>(n * channels));
  for (int64_t i = 0; i < n; ++i)
    for (int64_t c = 0; c < channels; ++c)
      out.pixels[static_cast<size_t>(i * channels + c)] = static_cast<uint8_t>(
          augment::channel_of(image.pixels.data() + i * image.channels, image.channels, channels, c));
  return out;
}

std::vector<int64_t> labels_of(const ImageSource& source) {
  std::vector<int64_t> labels(static_cast<size_t>(source.size()));
  for (size_t i = 0; i < labels.size(); ++i) labels[i] = source.label(static_cast<int64_t>(i)).value_or(-1);
  return labels;
}

}  // namespace tacit::ssl
