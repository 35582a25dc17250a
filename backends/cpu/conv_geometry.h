// The sizes of a convolution, read once from its views.
#pragma once

#include "tensor/backend.h"

namespace tacit::cpu {

struct ConvGeometry {
  int64_t images, height, width, channels;  ///< of x
  int64_t out_height, out_width, filters;   ///< of y
  int64_t groups, group_channels, group_filters;
  Window window;

  int64_t taps() const { return window.kernel_h * window.kernel_w; }
  /// Every output pixel sees the input pixel in its place: the convolution is a matrix product of pixels.
  bool pointwise() const {
    return taps() == 1 && groups == 1 && window.padding_h == 0 && window.padding_w == 0 && window.stride_h == 1 &&
           window.stride_w == 1;
  }
  /// Elements of one filter of w.
  int64_t filter_size() const { return taps() * group_channels; }
};

inline ConvGeometry conv_geometry(const View& x, const View& w, const View& y, const Window& window) {
  ConvGeometry g{};
  g.images = x.shape[0], g.height = x.shape[1], g.width = x.shape[2], g.channels = x.shape[3];
  g.out_height = y.shape[1], g.out_width = y.shape[2], g.filters = y.shape[3];
  g.group_channels = w.shape[3];
  g.groups = g.group_channels > 0 ? g.channels / g.group_channels : 1;
  g.group_filters = g.groups > 0 ? g.filters / g.groups : 0;
  g.window = window;
  return g;
}

}  // namespace tacit::cpu
