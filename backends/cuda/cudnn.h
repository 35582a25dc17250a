// Convolutions by cuDNN, where CMake found it: f32 or bf16, NHWC, by plans that give the same bits each time and are
// kept per shape (cudnn_plan.h). The rule: a call returns false where cuDNN has no such plan; the own kernels of
// conv.cu then do the work.
#pragma once

#include <cuda_runtime.h>

#include <memory>

#include "tensor/backend.h"

namespace tacit::cuda {

class Cudnn {
 public:
  Cudnn(int device, cudaStream_t);
  ~Cudnn();
  bool conv2d(const View& y, const View& x, const View& w, const Window&);
  bool conv2d_dx(const View& dx, const View& dy, const View& w, const Window&);
  bool conv2d_dw(const View& dw, const View& x, const View& dy, const Window&);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tacit::cuda
