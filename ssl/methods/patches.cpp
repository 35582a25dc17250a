#include "ssl/methods/patches.h"

#include <algorithm>
#include <numeric>

#include "tensor/ops.h"
#include "tensor/random.h"
#include "tensor/step_input.h"

namespace tacit::ssl {

Tensor patchify(const Tensor& images, int64_t patch) {
  TACIT_CHECK(images.rank() == 4 && patch > 0 && images.size(1) % patch == 0 && images.size(2) % patch == 0,
              "[patchify] patches of ", patch, " pixels do not divide images (N, H, W, C) of shape ", images.shape());
  const int64_t n = images.size(0), h = images.size(1) / patch, w = images.size(2) / patch, c = images.size(3);
  return images.reshape({n, h, patch, w, patch, c}).permute({0, 1, 3, 2, 4, 5}).reshape({n, h * w, patch * patch * c});
}

Tensor unpatchify(const Tensor& patches, int64_t patch, int64_t height, int64_t width) {
  const int64_t h = height / patch, w = width / patch;
  TACIT_CHECK(patches.rank() == 3 && h * patch == height && w * patch == width && patches.size(1) == h * w &&
                  patches.size(2) % (patch * patch) == 0,
              "[unpatchify] ", patches.shape(), " are not the patches of ", patch, " pixels of images of ", height,
              " x ", width);
  const int64_t n = patches.size(0), c = patches.size(2) / (patch * patch);
  return patches.reshape({n, h, w, patch, patch, c}).permute({0, 1, 3, 2, 4, 5}).reshape({n, height, width, c});
}

int64_t visible_patches(int64_t patches, double ratio) {
  const auto visible = static_cast<int64_t>(static_cast<double>(patches) * (1 - ratio));
  TACIT_CHECK(ratio > 0 && ratio < 1 && visible >= 1 && visible < patches, "--mask-ratio ", ratio, " leaves ", visible,
              " of ", patches, " patches visible; at least one must be visible and one hidden");
  return visible;
}

namespace {

/// Each image's random order of its patches, and behind them, for each image, where its patches stand in that.
std::vector<int64_t> draw_orders(int64_t images, int64_t patches, Random random) {
  const auto rows = static_cast<size_t>(images), length = static_cast<size_t>(patches);
  std::vector<int64_t> drawn(2 * rows * length), order(length);
  int64_t* const restore = drawn.data() + rows * length;
  std::vector<double> noise(length);
  for (size_t n = 0; n < rows; ++n) {
    for (double& u : noise) u = random.uniform();
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
      return noise[static_cast<size_t>(a)] < noise[static_cast<size_t>(b)];
    });
    for (size_t place = 0; place < length; ++place) {
      drawn[n * length + place] = order[place];
      restore[n * length + static_cast<size_t>(order[place])] = static_cast<int64_t>(place);
    }
  }
  return drawn;
}

}  // namespace

Masking random_masking(int64_t images, int64_t patches, double ratio, uint64_t seed, int64_t step,
                       const std::function<uint64_t(int64_t)>& stream, Device device) {
  const int64_t visible = visible_patches(patches, ratio);
  const Tensor orders = step_input<int64_t>({2, images, patches}, device, step, [=](int64_t at) {
    return draw_orders(images, patches, Random(seed, stream(at)));
  });
  const Tensor all = orders.select(0, 0), restore = orders.select(0, 1);
  return {.keep = all.slice(1, 0, visible),
          .hidden = all.slice(1, visible, patches),
          .restore = restore,
          .mask = greater_equal(restore, Tensor::scalar(static_cast<double>(visible), i64, device)).to(f32)};
}

Masking random_masking(int64_t images, int64_t patches, double ratio, uint64_t seed, uint64_t stream, Device device) {
  return random_masking(
      images, patches, ratio, seed, 0, [stream](int64_t) { return stream; }, device);
}

}  // namespace tacit::ssl
