#include "ssl/methods/color_decoder.h"

#include <algorithm>

#include "autograd/ops.h"
#include "nn/init.h"

namespace tacit::ssl {

int64_t doublings(int64_t map, int64_t target) {
  int64_t count = 0;
  for (; map < target; map *= 2) ++count;
  return count;
}

Variable doubled(const Variable& x) {
  const int64_t n = x.size(0), h = x.size(1), w = x.size(2), c = x.size(3);
  return reshape(broadcast_to(reshape(x, {n, h, 1, w, 1, c}), {n, h, 2, w, 2, c}), {n, 2 * h, 2 * w, c});
}

ColorDecoder::ColorDecoder(ColorDecoderOptions o) : target_(o.target), head_(o.width, o.out, 1) {
  TACIT_CHECK(o.map > 0 && o.map <= o.target, "[colorization] the encoder's map of ", o.map, " x ", o.map,
              " is finer than the ", o.target, " x ", o.target, " pixels to predict; use a smaller --color-stride");
  const nn::DeferInit defer;
  int64_t in = o.in;
  for (int64_t i = 0; i < std::max<int64_t>(1, doublings(o.map, o.target)); ++i) {
    convs_.emplace_back(in, o.width, 3, nn::ConvOptions{.padding = 1, .bias = false});
    norms_.emplace_back(o.width);
    in = o.width;
  }
  nn::initialize(*this, o.seed, "decoder");
}

Variable ColorDecoder::operator()(const Variable& map) {
  Variable x = map;
  for (size_t i = 0; i < convs_.size(); ++i) {
    if (x.size(1) < target_) x = doubled(x);
    x = norms_[i].relu(convs_[i](x));
  }
  if (x.size(1) > target_) x = slice(slice(x, 1, 0, target_), 2, 0, target_);
  return widen(head_(x));
}

void ColorDecoder::visit(nn::Visitor& v) {
  for (size_t i = 0; i < convs_.size(); ++i) {
    v("conv" + std::to_string(i + 1), convs_[i]);
    v("bn" + std::to_string(i + 1), norms_[i]);
  }
  v("head", head_);
}

}  // namespace tacit::ssl
