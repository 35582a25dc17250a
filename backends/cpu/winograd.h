// 3x3 convolutions with stride 1 by Winograd's minimal filtering (kernels/winograd_tile.h): F(4) needs a quarter of the
// multiplications of plain loops and loses two or three bits, F(2) four ninths and loses none. f32, dense.
#pragma once

#include "backends/cpu/conv_geometry.h"

namespace tacit::cpu {

/// What f4, f2 or direct means; null or empty: Auto. Error for other words.
ConvAlgorithm conv_algorithm_named(const char*);
/// The environment's TACIT_CONV, read once: for comparing whole trainings.
ConvAlgorithm conv_algorithm_of_environment();
/// How this convolution and its gradients are computed in f32: as window.algorithm or else TACIT_CONV says where that
/// can be, else by the sizes of map and filters. Never Auto.
ConvAlgorithm choose_algorithm(const ConvGeometry&);

/// Each for a convolution and an algorithm that choose_algorithm gave, not Direct.
/// mean and var, of y's channels (moments of tensor/ops.h), come in the same pass where they are not null.
void winograd(ConvAlgorithm, const ConvGeometry&, float* y, const float* x, const float* w, float* mean = nullptr,
              float* var = nullptr);
void winograd_dx(ConvAlgorithm, const ConvGeometry&, float* dx, const float* dy, const float* w);
void winograd_dw(ConvAlgorithm, const ConvGeometry&, float* dw, const float* x, const float* dy);

}  // namespace tacit::cpu
