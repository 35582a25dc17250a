#include "ssl/data/device_views.h"

#include <algorithm>
#include <exception>

#include "tensor/error.h"

namespace tacit::ssl {

AugmentView augment_view(const ViewParameters& view, const PackedImage& image, int64_t size) {
  TACIT_CHECK(image.height > 0 && image.width > 0 && size > 0 && image.height <= INT32_MAX && image.width <= INT32_MAX,
              "[augment] an image of ", image.height, " x ", image.width, " pixels cannot become a view of size ",
              size);
  AugmentView v;
  v.offset = image.offset;
  v.height = static_cast<int32_t>(image.height);
  v.width = static_cast<int32_t>(image.width);
  v.channels = static_cast<int32_t>(image.channels);
  v.down = static_cast<int32_t>(view.down);
  v.right = static_cast<int32_t>(view.right);
  v.top = view.top;
  v.left = view.left;
  v.box_height = view.height;
  v.box_width = view.width;
  v.gamma = view.gamma;
  v.brightness = view.brightness;
  v.contrast = view.contrast;
  v.saturation = view.saturation;
  v.hue = view.hue;
  v.sigma = view.sigma;
  for (size_t k = 0; k < view.order.size(); ++k) v.order[k] = static_cast<uint8_t>(view.order[k]);
  v.flip = view.flip;
  v.jitter = view.jitter;
  v.gray = view.gray;
  v.solarize = view.solarize;
  if (view.erase_height > 0) {
    const ErasedPart part = erased_part(view, size);
    v.erase_top = static_cast<int32_t>(part.top);
    v.erase_left = static_cast<int32_t>(part.left);
    v.erase_height = static_cast<int32_t>(part.height);
    v.erase_width = static_cast<int32_t>(part.width);
    v.erase_seed = view.erase_seed;
    v.erase_stream = part.stream;
  }
  return v;
}

AugmentPolicy augment_policy(const ViewPolicy& policy, int64_t channels) {
  AugmentPolicy p;
  p.antialias = policy.antialias;
  p.bicubic = policy.filter == Filter::Bicubic;
  p.gray_first = policy.gray_first;
  p.lightness = policy.lightness;
  p.erase_noise = policy.erase_noise;
  p.normalise = !policy.lightness && !policy.mean.empty();
  if (p.normalise) check_normalisation(policy, channels);
  for (size_t c = 0; p.normalise && c < policy.mean.size(); ++c) {
    p.mean[c] = policy.mean[c];
    p.scale[c] = 1 / policy.std[c];
  }
  return p;
}

Tensor pack_images(const std::vector<Image>& images, std::vector<int64_t>& offsets) {
  int64_t bytes = 0;
  offsets.clear();
  for (const Image& image : images) {
    offsets.push_back(bytes);
    bytes += static_cast<int64_t>(image.pixels.size());
  }
  static const Device host("cpu");
  const Tensor packed = Tensor::empty({bytes}, u8, host);
  for (size_t i = 0; i < images.size(); ++i)
    std::copy(images[i].pixels.begin(), images[i].pixels.end(), packed.view().ptr<uint8_t>() + offsets[i]);
  return packed;
}

std::shared_ptr<const ResidentImages> resident_images(
    const ImageSource& source, int64_t side, int64_t most_bytes,
    const std::function<void(int64_t, const std::function<void(int64_t)>&)>& for_each) {
  constexpr int64_t kTogether = 1024;  // images on the host at a time
  const int64_t all = source.total_bytes();
  if (all == 0 || all > most_bytes) return nullptr;
  auto resident = std::make_shared<ResidentImages>();
  resident->pixels = Tensor::empty({all}, u8);
  int64_t used = 0;
  std::vector<int64_t> offsets;
  for (int64_t first = 0; first < source.size(); first += kTogether) {
    std::vector<Image> images(static_cast<size_t>(std::min(kTogether, source.size() - first)));
    try {
      for_each(static_cast<int64_t>(images.size()),
               [&](int64_t i) { images[static_cast<size_t>(i)] = source.image_for(first + i, side); });
    } catch (const Error&) {
      return nullptr;
    }
    const Tensor packed = pack_images(images, offsets);
    if (used + packed.numel() > all) return nullptr;  // sizes vary after all
    for (size_t i = 0; i < images.size(); ++i)
      resident->images.push_back({used + offsets[i], images[i].height, images[i].width, images[i].channels});
    resident->pixels.slice(0, used, used + packed.numel()).copy_(packed);
    used += packed.numel();
  }
  return resident;
}

}  // namespace tacit::ssl
