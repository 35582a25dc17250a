#include "tensor/tensor.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace tacit {

struct Tensor::Storage {
  Storage(Device d, size_t n) : device(d), bytes(n), data(d.allocator().allocate(n)) {}
  ~Storage() { device.allocator().deallocate(data, bytes); }
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  Device device;
  size_t bytes;
  void* data;
};

// ---- making

Tensor Tensor::empty(const Shape& shape, DType dtype, Device device) {
  int64_t numel = 1;
  for (const int64_t size : shape) {
    TACIT_CHECK(size >= 0, "[tensor] negative size in shape ", shape);
    TACIT_CHECK(!__builtin_mul_overflow(numel, size, &numel) && numel < (int64_t{1} << 60), "[tensor] shape ", shape,
                " has too many elements");
  }
  Tensor t;
  t.storage_ = std::make_shared<Storage>(device, static_cast<size_t>(numel) * size_of(dtype));
  t.shape_ = shape;
  t.strides_ = row_major(shape);
  t.dtype_ = dtype;
  return t;
}

Tensor Tensor::full(const Shape& shape, double value, DType dtype, Device device) {
  Tensor t = empty(shape, dtype, device);
  t.fill_(value);
  return t;
}

Tensor Tensor::arange(int64_t n, DType dtype, Device device) {
  TACIT_CHECK(n >= 0, "[arange] negative length ", n);
  std::vector<int64_t> values(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) values[static_cast<size_t>(i)] = i;
  return from(values, {n}, device).to(dtype);
}

template <class T>
Tensor Tensor::from(std::span<const T> values, const Shape& shape, Device device) {
  TACIT_CHECK(static_cast<int64_t>(values.size()) == shape.numel(), "[tensor] ", values.size(),
              " values do not fill shape ", shape);
  Tensor t = empty(shape, dtype_of<T>, device);
  t.upload_(values);
  return t;
}

namespace {
Tensor random_tensor(Distribution distribution, const Shape& shape, uint64_t seed, uint64_t stream, DType dtype,
                     const Device& device) {
  TACIT_CHECK(dtype == f32 || dtype == f64, "[random] needs f32 or f64, got ", name_of(dtype));
  Tensor t = Tensor::empty(shape, dtype, device);
  const Tensor step = Tensor::zeros({1}, i64, device);
  device.backend().random(distribution, t.view(), seed, stream, step.view());
  return t;
}
}  // namespace

Tensor Tensor::uniform(const Shape& shape, uint64_t seed, uint64_t stream, DType dtype, Device device) {
  return random_tensor(Distribution::Uniform, shape, seed, stream, dtype, device);
}
Tensor Tensor::normal(const Shape& shape, uint64_t seed, uint64_t stream, DType dtype, Device device) {
  return random_tensor(Distribution::Normal, shape, seed, stream, dtype, device);
}

// ---- what it is

Device Tensor::device() const {
  TACIT_CHECK(defined(), "[tensor] this tensor is undefined");
  return storage_->device;
}

View Tensor::view() const {
  if (!defined()) return {};
  return {static_cast<char*>(storage_->data) + offset_ * static_cast<int64_t>(size_of(dtype_)), dtype_, shape_,
          strides_};
}

// ---- views

Tensor Tensor::with(const Shape& shape, const Strides& strides, int64_t offset) const {
  TACIT_CHECK(defined(), "[tensor] this tensor is undefined");
  Tensor t = *this;
  t.shape_ = shape;
  t.strides_ = strides;
  t.offset_ = offset;
  return t;
}

Tensor Tensor::transpose(int a, int b) const {
  a = shape_.index(a);
  b = shape_.index(b);
  Shape shape = shape_;
  Strides strides = strides_;
  std::swap(shape[a], shape[b]);
  std::swap(strides[a], strides[b]);
  return with(shape, strides, offset_);
}

Tensor Tensor::permute(std::span<const int> order) const {
  TACIT_CHECK(static_cast<int>(order.size()) == rank(), "[permute] ", order.size(), " dimensions given for shape ",
              shape_);
  Shape shape = shape_;
  Strides strides = strides_;
  bool used[kMaxRank] = {};
  for (int i = 0; i < rank(); ++i) {
    const int from = shape_.index(order[static_cast<size_t>(i)]);
    TACIT_CHECK(!used[from], "[permute] dimension ", from, " is named twice");
    used[from] = true;
    shape[i] = shape_[from];
    strides[i] = strides_[from];
  }
  return with(shape, strides, offset_);
}

Tensor Tensor::slice(int dim, int64_t lo, int64_t hi, int64_t step) const {
  dim = shape_.index(dim);
  const int64_t size = shape_[dim];
  const int64_t first = lo < 0 ? lo + size : lo, last = hi < 0 ? hi + size : hi;
  TACIT_CHECK(0 <= first && first <= last && last <= size && step >= 1, "[slice] ", lo, " … ", hi, " step ", step,
              " of dimension ", dim, " of shape ", shape_);
  Shape shape = shape_;
  Strides strides = strides_;
  shape[dim] = (last - first + step - 1) / step;
  strides[dim] *= step;
  return with(shape, strides, offset_ + first * strides_[dim]);
}

Tensor Tensor::select(int dim, int64_t index) const {
  dim = shape_.index(dim);
  const int64_t i = index < 0 ? index + shape_[dim] : index;
  TACIT_CHECK(0 <= i && i < shape_[dim], "[select] index ", index, " of dimension ", dim, " of shape ", shape_);
  return slice(dim, i, i + 1).squeeze(dim);
}

Tensor Tensor::broadcast_to(const Shape& shape) const {
  const int extra = shape.rank() - rank();
  TACIT_CHECK(extra >= 0, "[broadcast_to] ", shape_, " does not broadcast to ", shape);
  Strides strides = shape;
  for (int i = 0; i < shape.rank(); ++i) {
    const int64_t size = i < extra ? 1 : shape_[i - extra];
    TACIT_CHECK(size == shape[i] || size == 1, "[broadcast_to] ", shape_, " does not broadcast to ", shape);
    strides[i] = size == shape[i] && i >= extra ? strides_[i - extra] : 0;
  }
  return with(shape, strides, offset_);
}

Shape without_dim(const Shape& shape, int dim) {
  dim = shape.index(dim);
  Shape out;
  for (int i = 0; i < shape.rank(); ++i)
    if (i != dim) out.push_back(shape[i]);
  return out;
}

Shape with_dim(const Shape& shape, int dim, int64_t size) {
  const int rank = shape.rank() + 1, at = dim < 0 ? dim + rank : dim;
  TACIT_CHECK(at >= 0 && at < rank, "[unsqueeze] dimension ", dim, " for shape ", shape);
  Shape out;
  for (int i = 0; i < rank; ++i) out.push_back(i == at ? size : shape[i < at ? i : i - 1]);
  return out;
}

Tensor Tensor::unsqueeze(int dim) const { return with(with_dim(shape_, dim, 1), with_dim(strides_, dim, 1), offset_); }

Tensor Tensor::squeeze(int dim) const {
  TACIT_CHECK(shape_[dim] == 1, "[squeeze] dimension ", dim, " of shape ", shape_, " is not 1");
  return with(without_dim(shape_, dim), without_dim(strides_, dim), offset_);
}

namespace {

// Replaces a -1 by what makes the number of elements fit.
Shape infer_size(Shape shape, const Shape& from) {
  int unknown = -1;
  bool empty = false, too_many = false;
  int64_t known = 1;
  for (int i = 0; i < shape.rank(); ++i) {
    if (shape[i] == -1) {
      TACIT_CHECK(unknown < 0, "[reshape] more than one -1 in ", shape);
      unknown = i;
      continue;
    }
    TACIT_CHECK(shape[i] >= 0, "[reshape] ", shape, " has the negative size ", shape[i],
                "; only a single -1 may stand for a size");
    empty = empty || shape[i] == 0;
    too_many = __builtin_mul_overflow(known, shape[i], &known) || too_many;
  }
  if (empty) known = 0;
  TACIT_CHECK(empty || !too_many, "[reshape] ", from, " cannot become ", shape, ": its elements cannot be counted");
  if (unknown >= 0) {
    TACIT_CHECK(known > 0 && from.numel() % known == 0, "[reshape] ", from, " cannot become ", shape);
    shape[unknown] = from.numel() / known;
    return shape;
  }
  TACIT_CHECK(known == from.numel(), "[reshape] ", from, " cannot become ", shape, ": ", from.numel(), " and ", known,
              " elements");
  return shape;
}

// Strides under which `to` walks the same elements as (shape, strides), if there are such.
bool strides_for(const Shape& shape, const Strides& strides, const Shape& to, Strides* out) {
  if (shape.numel() == 0) {
    *out = row_major(to);
    return true;
  }
  *out = to;
  int i = shape.rank() - 1, j = to.rank() - 1;
  while (j >= 0) {
    // Take the shortest runs of old and new dimensions with the same number of elements.
    while (i >= 0 && shape[i] == 1) --i;
    int64_t step = i >= 0 ? strides[i] : 1, old_n = 1, new_n = 1;
    const int first_new = j;
    if (i >= 0) old_n = shape[i];
    new_n = to[j];
    while (old_n != new_n) {
      if (new_n < old_n) {
        if (--j < 0) return false;
        new_n *= to[j];
      } else {
        const int inner = i;
        do --i;
        while (i >= 0 && shape[i] == 1);
        // Two old dimensions merge only if walking off the inner one lands on the next of the outer one.
        if (i < 0 || strides[i] != strides[inner] * shape[inner]) return false;
        old_n *= shape[i];
      }
    }
    for (int k = first_new; k >= j; --k) {
      (*out)[k] = step;
      step *= to[k];
    }
    --i;
    --j;
  }
  return true;
}

}  // namespace

Tensor Tensor::reshape(const Shape& wanted) const {
  const Shape shape = infer_size(wanted, shape_);
  Strides strides;
  if (strides_for(shape_, strides_, shape, &strides)) return with(shape, strides, offset_);
  Tensor dense = clone();
  dense.shape_ = shape;
  dense.strides_ = row_major(shape);
  return dense;
}

Tensor Tensor::flatten(int from, int to) const {
  if (rank() == 0) return reshape({1});
  from = shape_.index(from);
  to = shape_.index(to);
  TACIT_CHECK(from <= to, "[flatten] dimensions ", from, " … ", to, " of shape ", shape_);
  Shape shape;
  int64_t merged = 1;
  for (int i = 0; i < rank(); ++i) {
    if (i >= from && i <= to) merged *= shape_[i];
    if (i < from || i > to) shape.push_back(shape_[i]);
    if (i == to) shape.push_back(merged);
  }
  return reshape(shape);
}

Tensor Tensor::contiguous_copy_if_needed() const { return contiguous() ? *this : clone(); }

// ---- copies

Tensor Tensor::clone() const {
  Tensor t = empty(shape_, dtype_, device());
  t.copy_(*this);
  return t;
}

Tensor Tensor::to(DType dtype) const {
  if (dtype == dtype_) return *this;
  Tensor t = empty(shape_, dtype, device());
  t.copy_(*this);
  return t;
}

Tensor Tensor::to(const Device& target) const {
  if (target == device()) return *this;
  Tensor t = empty(shape_, dtype_, target);
  t.copy_(*this);
  return t;
}

template <class T>
std::vector<T> Tensor::to_vector() const {
  TACIT_CHECK(dtype_of<T> == dtype(), "[to_vector] the tensor is ", name_of(dtype_), ", not ", name_of(dtype_of<T>));
  const Tensor dense = contiguous_copy_if_needed();
  std::vector<T> values(static_cast<size_t>(numel()));
  if (!values.empty()) dense.backend().download(values.data(), dense.view().data, values.size() * sizeof(T));
  return values;
}

double Tensor::item() const {
  TACIT_CHECK(numel() == 1, "[item] the tensor has shape ", shape_, ", not one element");
  return visit_dtype(dtype_, [&](auto zero) -> double {
    using T = decltype(zero);
    const T value = to_vector<T>()[0];
    if constexpr (std::is_same_v<T, BFloat16>) {
      return static_cast<float>(value);
    } else {
      return static_cast<double>(value);
    }
  });
}

bool Tensor::item_is_finite() const { return std::isfinite(item()); }

// ---- writes

void Tensor::copy_(const Tensor& source) {
  TACIT_CHECK(defined() && source.defined(), "[copy_] a tensor is undefined");
  const Tensor from = source.shape_ == shape_ ? source : source.broadcast_to(shape_);
  if (numel() == 0) return;
  if (from.device() == device()) {
    // Two views of one block may overlap, which kernels do not allow.
    const Tensor safe = shares_memory_with(from) ? from.clone() : from;
    backend().copy(view(), safe.view());
    return;
  }
  // Between devices: through the host, both sides dense and of one dtype.
  const Tensor dense = from.to(dtype_).contiguous_copy_if_needed();
  const size_t bytes = static_cast<size_t>(numel()) * size_of(dtype_);
  std::vector<char> copy;
  const void* host = dense.view().data;
  if (!dense.backend().host_accessible()) {
    copy.resize(bytes);
    dense.backend().download(copy.data(), host, bytes);
    host = copy.data();
  }
  if (contiguous()) {
    backend().upload(view().data, host, bytes);
  } else {
    Tensor staged = empty(shape_, dtype_, device());
    backend().upload(staged.view().data, host, bytes);
    backend().copy(view(), staged.view());
  }
}

void Tensor::fill_(double value) {
  TACIT_CHECK(defined(), "[fill_] the tensor is undefined");
  if (numel() > 0) backend().fill(view(), value);
}

template <class T>
void Tensor::upload_(std::span<const T> values) {
  TACIT_CHECK(dtype_of<T> == dtype_, "[upload_] the tensor is ", name_of(dtype_), ", not ", name_of(dtype_of<T>));
  TACIT_CHECK(contiguous(), "[upload_] the tensor is not dense");
  TACIT_CHECK(static_cast<int64_t>(values.size()) == numel(), "[upload_] ", values.size(), " values do not fill shape ",
              shape_);
  if (!values.empty()) backend().upload(view().data, values.data(), values.size_bytes());
}

#define TACIT_INSTANTIATE(T)                                                 \
  template Tensor Tensor::from<T>(std::span<const T>, const Shape&, Device); \
  template std::vector<T> Tensor::to_vector<T>() const;                      \
  template void Tensor::upload_<T>(std::span<const T>);
TACIT_INSTANTIATE(float)
TACIT_INSTANTIATE(double)
TACIT_INSTANTIATE(BFloat16)
TACIT_INSTANTIATE(int64_t)
TACIT_INSTANTIATE(int32_t)
TACIT_INSTANTIATE(uint8_t)
#undef TACIT_INSTANTIATE

}  // namespace tacit
