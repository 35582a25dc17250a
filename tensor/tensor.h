// Tensor: strided data on a device. It knows nothing of gradients (that is Variable, in autograd/).
// The rule: copying a Tensor or taking a view shares memory; the only functions that write end in an underscore.
#pragma once

#include <iosfwd>
#include <memory>
#include <span>
#include <vector>

#include "tensor/device.h"
#include "tensor/view.h"

namespace tacit {

class Tensor {
 public:
  /// No tensor at all; defined() is false.
  Tensor() = default;

  // ---- making
  static Tensor empty(const Shape&, DType = f32, Device = default_device());
  static Tensor full(const Shape&, double value, DType = f32, Device = default_device());
  static Tensor zeros(const Shape& s, DType t = f32, Device d = default_device()) { return full(s, 0, t, d); }
  static Tensor ones(const Shape& s, DType t = f32, Device d = default_device()) { return full(s, 1, t, d); }
  /// 0, 1, …, n-1.
  static Tensor arange(int64_t n, DType = i64, Device = default_device());
  /// Copies from the host; throws unless the number of values is shape.numel().
  template <class T>
  static Tensor from(std::span<const T> values, const Shape&, Device = default_device());
  template <class T>
  static Tensor from(const std::vector<T>& values, const Shape& shape, Device device = default_device()) {
    return from(std::span<const T>(values), shape, device);
  }
  static Tensor scalar(double value, DType t = f32, Device d = default_device()) { return full({}, value, t, d); }
  /// Uniform in [0, 1), or normal with mean 0 and std 1; the numbers of Backend::random.
  static Tensor uniform(const Shape&, uint64_t seed, uint64_t stream, DType = f32, Device = default_device());
  static Tensor normal(const Shape&, uint64_t seed, uint64_t stream, DType = f32, Device = default_device());

  // ---- what it is
  bool defined() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  const Strides& strides() const { return strides_; }
  int rank() const { return shape_.rank(); }
  int64_t size(int dim) const { return shape_[dim]; }
  int64_t numel() const { return shape_.numel(); }
  DType dtype() const { return dtype_; }
  Device device() const;
  Backend& backend() const { return device().backend(); }
  bool contiguous() const { return is_row_major(shape_, strides_); }
  /// True when no other Tensor or view shares this memory.
  bool unshared() const { return storage_.use_count() == 1; }
  /// True when both look at the same memory block.
  bool shares_memory_with(const Tensor& other) const { return storage_ && storage_ == other.storage_; }
  View view() const;

  // ---- views: no data moves
  /// Swaps the last two dimensions.
  Tensor t() const { return transpose(-2, -1); }
  Tensor transpose(int a, int b) const;
  Tensor permute(std::span<const int> order) const;
  Tensor permute(std::initializer_list<int> order) const {
    return permute(std::span<const int>(order.begin(), order.size()));
  }
  /// Elements lo … hi-1 of a dimension, every step-th; negative lo and hi count from the end.
  Tensor slice(int dim, int64_t lo, int64_t hi, int64_t step = 1) const;
  /// slice of one element, with the dimension removed.
  Tensor select(int dim, int64_t index) const;
  Tensor broadcast_to(const Shape&) const;
  Tensor unsqueeze(int dim) const;
  Tensor squeeze(int dim) const;

  // ---- perhaps a view
  /// The same elements in row-major order under another shape; one size may be -1. A view where the strides allow it.
  Tensor reshape(const Shape&) const;
  Tensor flatten(int from = 0, int to = -1) const;
  /// This tensor if it is dense, else a dense copy.
  Tensor contiguous_copy_if_needed() const;

  // ---- copies
  Tensor clone() const;
  Tensor to(DType) const;          ///< this tensor if it has that dtype already
  Tensor to(const Device&) const;  ///< this tensor if it is there already
  template <class T>
  std::vector<T> to_vector() const;  ///< row-major; T must be the dtype's C++ type
  double item() const;               ///< the value of a one-element tensor
  bool item_is_finite() const;

  // ---- writes
  /// Copies with conversion and broadcasting of the source; devices may differ.
  void copy_(const Tensor& source);
  void fill_(double value);
  void add_(const Tensor& other);
  void mul_(double factor);
  /// Copies shape.numel() values from the host into this dense tensor.
  template <class T>
  void upload_(std::span<const T> values);

 private:
  struct Storage;
  Tensor with(const Shape&, const Strides&, int64_t offset) const;

  std::shared_ptr<Storage> storage_;
  Shape shape_;
  Strides strides_;
  int64_t offset_ = 0;
  DType dtype_ = DType::f32;
};

/// Values with shape and dtype; long dimensions are elided in the middle.
std::ostream& operator<<(std::ostream&, const Tensor&);

/// A shape with one more or fewer dimension, used by ops that insert or remove one.
Shape without_dim(const Shape&, int dim);
Shape with_dim(const Shape&, int dim, int64_t size);

}  // namespace tacit
