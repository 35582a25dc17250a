#include "nn/resnet.h"

#include <array>

#include "autograd/ops.h"
#include "nn/checkpointed.h"
#include "nn/init.h"

namespace tacit::nn {

namespace {

// torchvision draws every convolution from kaiming_normal(fan_out).
Conv2d conv(int64_t in, int64_t out, int64_t kernel, int64_t stride) {
  return Conv2d(in, out, kernel,
                {.stride = stride, .padding = kernel / 2, .bias = false, .init = Init::kaiming_normal(Fan::Out)});
}

std::array<int, 4> blocks_of(int depth) {
  switch (depth) {
    case 18:
      return {2, 2, 2, 2};
    case 34:
    case 50:
      return {3, 4, 6, 3};
    default:
      detail::fail("[ResNet] there is no depth ", depth, "; known: 18, 34, 50");
  }
}

}  // namespace

ResidualBlock::ResidualBlock(bool bottleneck, int64_t in, int64_t width, int64_t stride, double last_gamma,
                             int64_t bn_splits) {
  const BatchNormOptions norm{.splits = bn_splits};
  const int64_t out = width * expansion(bottleneck);
  if (bottleneck) {
    convs_.push_back(conv(in, width, 1, 1));
    convs_.push_back(conv(width, width, 3, stride));
    convs_.push_back(conv(width, out, 1, 1));
    norms_.emplace_back(width, norm);
    norms_.emplace_back(width, norm);
  } else {
    convs_.push_back(conv(in, width, 3, stride));
    convs_.push_back(conv(width, width, 3, 1));
    norms_.emplace_back(width, norm);
  }
  norms_.emplace_back(out, BatchNormOptions{.gamma = last_gamma, .splits = bn_splits});
  if (stride != 1 || in != out) {
    downsample_conv_.emplace(conv(in, out, 1, stride));
    downsample_norm_.emplace(out, norm);
  }
}

Variable ResidualBlock::operator()(const Variable& x) {
  const Variable shortcut = downsample_conv_ ? (*downsample_norm_)(*downsample_conv_, x) : x;
  Variable y = x;
  for (size_t i = 0; i + 1 < convs_.size(); ++i) y = norms_[i].relu(convs_[i], y);
  return norms_.back().relu(convs_.back(), y, shortcut);
}

void ResidualBlock::visit(Visitor& v) {
  for (size_t i = 0; i < convs_.size(); ++i) {
    v("conv" + std::to_string(i + 1), convs_[i]);
    v("bn" + std::to_string(i + 1), norms_[i]);
  }
  if (downsample_conv_) {
    v("downsample.0", *downsample_conv_);
    v("downsample.1", *downsample_norm_);
  }
}

ResNet::ResNet(ResNetOptions o)
    : stem_(o.stem),
      checkpoint_(o.checkpoint),
      conv1_(o.stem == Stem::Cifar ? conv(o.channels, o.width, 3, 1) : conv(o.channels, o.width, 7, 2)),
      bn1_(o.width, {.splits = o.bn_splits}) {
  const DeferInit defer;
  const bool bottleneck = o.depth >= 50;
  const std::array<int, 4> counts = blocks_of(o.depth);
  int64_t in = o.width, width = o.width;
  for (size_t stage = 0; stage < counts.size(); ++stage) {
    auto& blocks = stages_.emplace_back();
    for (int i = 0; i < counts[stage]; ++i) {
      blocks.emplace_back(bottleneck, in, width, stage > 0 && i == 0 ? 2 : 1, o.zero_init_residual ? 0. : 1.,
                          o.bn_splits);
      in = width * ResidualBlock::expansion(bottleneck);
    }
    width *= 2;
  }
  features_ = in;
  if (o.classes > 0) fc_.emplace(in, o.classes);
  initialize(*this, o.seed);
}

Variable ResNet::operator()(const Variable& images) {
  const Variable features = after_stages(images, static_cast<int>(stages_.size()));
  return fc_ ? (*fc_)(features) : features;
}

Variable ResNet::stage_map(const Variable& images, int count) {
  Variable x = bn1_.relu(conv1_, images);
  if (stem_ == Stem::ImageNet) x = max_pool2d(x, kStemPool);
  for (size_t stage = 0; stage < static_cast<size_t>(count); ++stage)
    for (ResidualBlock& block : stages_[stage]) x = run_block(block, x, checkpoint_);
  return x;
}

void ResNet::visit(Visitor& v) {
  v("conv1", conv1_);
  v("bn1", bn1_);
  for (size_t s = 0; s < stages_.size(); ++s)
    for (size_t i = 0; i < stages_[s].size(); ++i)
      v("layer" + std::to_string(s + 1) + "." + std::to_string(i), stages_[s][i]);
  if (fc_) v("fc", *fc_);
}

}  // namespace tacit::nn
