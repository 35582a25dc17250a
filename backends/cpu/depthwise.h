// Depthwise convolution (every channel its own filter) and its gradients: no matrix product in it, so vectors run over
// the channels. All dense; T is float or double.
#pragma once

#include "backends/cpu/conv_geometry.h"

namespace tacit::cpu {

inline bool is_depthwise(const ConvGeometry& g) {
  return g.groups > 1 && g.group_channels == 1 && g.group_filters == 1;
}

template <class T>
void depthwise(const ConvGeometry&, T* y, const T* x, const T* w);
template <class T>
void depthwise_dx(const ConvGeometry&, T* dx, const T* dy, const T* w);
template <class T>
void depthwise_dw(const ConvGeometry&, T* dw, const T* x, const T* dy);

}  // namespace tacit::cpu
