// Views of images on their device: the checks, the table's upload, the call.
#include <algorithm>

#include "tensor/augment_taps.h"
#include "tensor/ops.h"

namespace tacit {

namespace {

constexpr int64_t kLargestView = 16384;  // its pixels are counted in 32 bits

void check_augment_view(const AugmentView& v, int64_t bytes) {
  TACIT_CHECK(v.height > 0 && v.width > 0 && (v.channels == 1 || v.channels == 3 || v.channels == 4),
              "[augment] an image of ", v.height, " x ", v.width, " pixels and ", v.channels,
              " channels; 1, 3 or 4 channels are possible");
  TACIT_CHECK(v.offset >= 0 && v.offset <= bytes && int64_t{v.height} * v.width <= (bytes - v.offset) / v.channels,
              "[augment] an image of ", v.height, " x ", v.width, " x ", v.channels, " bytes at ", v.offset,
              " ends beyond the ", bytes, " bytes of pixels");
  TACIT_CHECK(v.box_height > 0 && v.box_width > 0, "[augment] an empty box of ", v.box_height, " x ", v.box_width);
}

}  // namespace

Tensor augment_images(const Tensor& pixels, std::span<const AugmentView> views, const AugmentPolicy& policy,
                      int64_t size, int64_t channels) {
  TACIT_CHECK(pixels.defined() && pixels.dtype() == u8 && pixels.rank() == 1 && pixels.contiguous(),
              "[augment] the pixels must be dense bytes (n) u8");
  TACIT_CHECK(size > 0 && size <= kLargestView && (channels == 1 || channels == 3), "[augment] views of size ", size,
              " and ", channels, " channels; sizes of 1 … ", kLargestView, " and 1 or 3 channels are possible");
  TACIT_CHECK(!policy.lightness || channels == 1, "[augment] a view of lightness has one channel, ", channels,
              " are asked for");
  AugmentArgs args;
  args.policy = policy;
  for (const AugmentView& v : views) {
    check_augment_view(v, pixels.numel());
    const auto room = [&](double begin, double extent, int64_t source) {
      return augment::TapAxis(begin, extent, source, size, policy.antialias, policy.bicubic).room();
    };
    args.taps = std::max({args.taps, room(v.top, v.box_height, v.height), room(v.left, v.box_width, v.width)});
    args.blurs |= v.sigma > 0;
  }
  const auto count = static_cast<int64_t>(views.size());
  const Tensor out = Tensor::empty({count, size, size, channels}, f32, pixels.device());
  if (count == 0) return out;
  const std::span<const uint8_t> bytes(reinterpret_cast<const uint8_t*>(views.data()), views.size_bytes());
  const Tensor table = Tensor::from(bytes, {static_cast<int64_t>(bytes.size())}, pixels.device());
  args.out = out.view();
  args.pixels = pixels.view();
  args.views = table.view();
  pixels.backend().augment(args);
  return out;
}

}  // namespace tacit
