// What cuDNN does for a convolution or one of its gradients: an execution plan of its graph API, the only one that
// knows each card's own engines.
// The rule: a plan depends on what a Convolution says and on the kind of card, never on a timing, and gives the same
// bits each time it runs.
#pragma once

#include <cudnn.h>

#include <memory>
#include <optional>

#include "tensor/backend.h"

namespace tacit::cuda {

/// Throws Error where a call of cuDNN that should not fail did.
void check_cudnn(cudnnStatus_t, const char* what);

/// One of cuDNN's backend descriptors: attributes are set, then it is finalized, then it may be used and read.
class CudnnDescriptor {
 public:
  explicit CudnnDescriptor(cudnnBackendDescriptorType_t);
  operator cudnnBackendDescriptor_t() const { return owner_.get(); }
  /// One or more values of the attribute's type.
  void set(cudnnBackendAttributeName_t, cudnnBackendAttributeType_t, int64_t count, const void* values);
  template <class T>
  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, const T& value) {
    set(name, type, 1, &value);
  }
  void set(cudnnBackendAttributeName_t name, const CudnnDescriptor& value) {
    set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, cudnnBackendDescriptor_t(value));
  }
  /// Writes at most `most` values there, and gives how many there are.
  int64_t get(cudnnBackendAttributeName_t, cudnnBackendAttributeType_t, int64_t most, void* values) const;
  /// False where cuDNN does not have what is asked for. Throws Error for want of memory.
  bool finalize();

 private:
  std::unique_ptr<void, cudnnStatus_t (*)(cudnnBackendDescriptor_t)> owner_;
};

/// Where plans are to run.
struct CudnnTarget {
  cudnnHandle_t handle = nullptr;
  /// Without a handle: the properties of a card that is not here (cuDNN 9.8). Such plans cannot run.
  const CudnnDescriptor* properties = nullptr;
};

/// Which of the three products, and everything that its plan depends on. Of the three tensors, x also stands for dx, w
/// for dw and y for dy; all are dense and of the same type, f32 or bf16.
struct Convolution {
  enum class Product { Y, Dx, Dw } product;
  DType dtype;
  bool tensor_cores;  ///< whether they may be used; they round f32 factors to tf32
  int64_t alignment;  ///< of all three pointers, in bytes
  Shape x, w, y;      ///< (N,H,W,C), (K,R,S,C/groups), (N,P,Q,K)
  Window window;
};

class ConvolutionPlan {
 public:
  /// The first in the list of cuDNN's heuristic, best first, that suits the rule above, does not round more than
  /// `dtype` does, and needs no more than 1 GiB beside; nothing where there is none. Looks from place `first` on.
  static std::optional<ConvolutionPlan> find(const Convolution&, const CudnnTarget&, int64_t first = 0);

  int64_t workspace_bytes() const { return workspace_bytes_; }
  /// The engine's number in cuDNN's list.
  int64_t engine() const { return engine_; }
  /// Its place in the heuristic's list.
  int64_t place() const { return place_; }
  /// Does the work in the handle's stream. False, with nothing done: cuDNN promised too much.
  bool run(cudnnHandle_t, void* x, void* w, void* y, void* workspace) const;

 private:
  ConvolutionPlan(CudnnDescriptor plan, int64_t workspace_bytes, int64_t engine, int64_t place)
      : plan_(std::move(plan)), workspace_bytes_(workspace_bytes), engine_(engine), place_(place) {}

  CudnnDescriptor plan_;
  int64_t workspace_bytes_, engine_, place_;
};

}  // namespace tacit::cuda
