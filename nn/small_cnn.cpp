#include "nn/small_cnn.h"

#include "autograd/ops.h"
#include "nn/init.h"

namespace tacit::nn {

SmallCnn::SmallCnn(SmallCnnOptions o) : features_(8 * o.width) {
  const DeferInit defer;
  int64_t in = o.channels;
  for (int i = 0; i < 4; ++i) {
    const int64_t out = o.width << i;
    convs_.emplace_back(in, out, 3, ConvOptions{.stride = 2, .padding = 1, .bias = false});
    norms_.emplace_back(out, BatchNormOptions{.splits = o.bn_splits});
    in = out;
  }
  initialize(*this, o.seed);
}

Variable SmallCnn::operator()(const Variable& images) { return after_stages(images, static_cast<int>(convs_.size())); }

Variable SmallCnn::stage_map(const Variable& images, int count) {
  Variable x = images;
  for (size_t i = 0; i < static_cast<size_t>(count); ++i) x = norms_[i].relu(convs_[i], x);
  return x;
}

void SmallCnn::visit(Visitor& v) {
  for (size_t i = 0; i < convs_.size(); ++i) {
    v("conv" + std::to_string(i + 1), convs_[i]);
    v("bn" + std::to_string(i + 1), norms_[i]);
  }
}

}  // namespace tacit::nn
