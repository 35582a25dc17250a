// View: all that a kernel ever sees of a tensor. It owns nothing.
// The pointer belongs to the backend: only that backend may read or write through it.
#pragma once

#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace tacit {

struct View {
  void* data = nullptr;
  DType dtype = DType::f32;
  Shape shape;
  Strides strides;

  bool defined() const { return data != nullptr; }
  int64_t numel() const { return shape.numel(); }
  bool contiguous() const { return is_row_major(shape, strides); }

  template <class T>
  T* ptr() const {
    return static_cast<T*>(data);
  }

  /// Elements from the first to one past the last, counted in memory (0 for an empty view).
  int64_t extent() const {
    int64_t last = 0;
    for (int i = 0; i < shape.rank(); ++i) {
      if (shape[i] == 0) return 0;
      last += (shape[i] - 1) * strides[i];
    }
    return last + 1;
  }
};

}  // namespace tacit
