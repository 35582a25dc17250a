#include "nn/nin.h"

#include "autograd/ops.h"
#include "nn/init.h"

namespace tacit::nn {

NinBlock::NinBlock(const std::array<int64_t, 4>& channels, int64_t kernel, int64_t bn_splits) {
  for (size_t i = 0; i + 1 < channels.size(); ++i) {
    const int64_t k = i == 0 ? kernel : 1;
    convs_.emplace_back(channels[i], channels[i + 1], k,
                        ConvOptions{.padding = k / 2, .bias = false, .init = Init::kaiming_normal(Fan::Out)});
    norms_.emplace_back(channels[i + 1], BatchNormOptions{.splits = bn_splits});
  }
}

Variable NinBlock::operator()(const Variable& x) {
  Variable y = x;
  for (size_t i = 0; i < convs_.size(); ++i) y = norms_[i].relu(convs_[i], y);
  return y;
}

void NinBlock::visit(Visitor& v) {
  for (size_t i = 0; i < convs_.size(); ++i) {
    v("conv" + std::to_string(i + 1), convs_[i]);
    v("bn" + std::to_string(i + 1), norms_[i]);
  }
}

Nin::Nin(NinOptions o) : features_(o.width), pool_third_(o.pool_third && o.blocks > 3) {
  TACIT_CHECK(o.blocks >= 3 && o.blocks <= 5, "[Nin] has 3 to 5 blocks, not ", o.blocks);
  const DeferInit defer;
  const int64_t width = o.width, second = (5 * width + 3) / 6, third = (width + 1) / 2;
  blocks_.emplace_back(std::array<int64_t, 4>{o.channels, width, second, third}, 5, o.bn_splits);
  blocks_.emplace_back(std::array<int64_t, 4>{third, width, width, width}, 5, o.bn_splits);
  while (static_cast<int>(blocks_.size()) < o.blocks)
    blocks_.emplace_back(std::array<int64_t, 4>{width, width, width, width}, 3, o.bn_splits);
  initialize(*this, o.seed);
}

Variable Nin::operator()(const Variable& images) { return after_stages(images, static_cast<int>(blocks_.size())); }

Variable Nin::stage_map(const Variable& images, int count) {
  Variable x = images;
  for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
    x = blocks_[i](x);
    if (const auto op = pool_behind(i)) x = *op == PoolOp::Max ? max_pool2d(x, kPool) : avg_pool2d(x, kPool);
  }
  return x;
}

std::optional<PoolOp> Nin::pool_behind(size_t i) const {
  if (i == 0) return PoolOp::Max;
  if (i == 1 || (i == 2 && pool_third_)) return PoolOp::Average;
  return {};
}

void Nin::visit(Visitor& v) {
  for (size_t i = 0; i < blocks_.size(); ++i) v("block" + std::to_string(i + 1), blocks_[i]);
}

}  // namespace tacit::nn
