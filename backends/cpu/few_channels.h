// Convolutions of images of at most four channels and their gradients, with kernels/few_channels.h. f32, dense.
#pragma once

#include "backends/cpu/conv_geometry.h"

namespace tacit::cpu {

/// Whether the kernels can: few channels, no groups, no dilation, a step that they know, filters in whole vectors.
bool is_few_channels(const ConvGeometry&);
void few_channels(const ConvGeometry&, float* y, const float* x, const float* w);
void few_channels_dx(const ConvGeometry&, float* dx, const float* dy, const float* w);
void few_channels_dw(const ConvGeometry&, float* dw, const float* x, const float* dy);

}  // namespace tacit::cpu
