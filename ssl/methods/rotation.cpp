#include "ssl/methods/rotation.h"

#include <cmath>

#include "autograd/ops.h"
#include "ssl/methods/batch_metrics.h"

namespace tacit::ssl {

namespace {

constexpr int kRows = 1, kColumns = 2;  // of (B, S, S, C)

Tensor flip(const Tensor& images, int dim) {
  const int64_t n = images.size(dim);
  std::vector<int64_t> back(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) back[static_cast<size_t>(i)] = n - 1 - i;
  return index_select(images, dim, Tensor::from(back, {n}, images.device()));
}

}  // namespace

Tensor four_rotations(const Tensor& images) {
  TACIT_CHECK(images.rank() == 4 && images.size(kRows) == images.size(kColumns),
              "[rotation] turns square images (B, S, S, C), got ", images.shape(),
              "; give every image one side with --image-size");
  const Tensor upside_down = flip(images, kRows);
  const Tensor turned90 = flip(images.transpose(kRows, kColumns), kRows), turned180 = flip(upside_down, kColumns),
               turned270 = upside_down.transpose(kRows, kColumns);
  Shape shape = images.shape();
  shape[0] *= 4;
  return stack(std::vector<Tensor>{images, turned90, turned180, turned270}, 1).reshape(shape);
}

Rotation::Rotation(nn::Encoder encoder, RotationOptions options)
    : encoder_(std::move(encoder)), head_(encoder_.features(), 4, {.zero_bias = true}) {
  nn::initialize(head_, options.seed, "head");
}

Variable Rotation::loss(const std::vector<Tensor>& views, const Progress&) {
  TACIT_CHECK(views.size() == 1, "[rotation] needs one view (B, S, S, C) of each image, got ", views.size());
  const Tensor turned = four_rotations(views[0]);
  std::vector<int64_t> turns(static_cast<size_t>(turned.size(0)));
  for (size_t i = 0; i < turns.size(); ++i) turns[i] = static_cast<int64_t>(i % 4);
  const Tensor labels = Tensor::from(turns, {turned.size(0)}, turned.device());
  const Variable h = encoder_(turned), logits = head_(h);
  metrics_ = {{"feature_std", feature_spread(h.value())}, {"pretext_top1", top1_of(logits.value(), labels)}};
  return cross_entropy(logits, labels);
}

Chance Rotation::chance(int64_t) const { return {std::log(4.0), 0.25}; }

void Rotation::visit(nn::Visitor& v) {
  v("encoder", encoder_);
  v("head", head_);
}

}  // namespace tacit::ssl
