// Printing, as NumPy does it: nested brackets, aligned columns, "…" in the middle of long dimensions.
#include <algorithm>
#include <cstdio>
#include <ostream>

#include "tensor/ops.h"

namespace tacit {

std::ostream& operator<<(std::ostream& out, DType t) { return out << name_of(t); }

namespace {

constexpr int64_t kLongest = 8;  // of a dimension that is shown whole
constexpr int64_t kEdge = 3;     // elements shown at each end of a longer one

template <class T>
std::string text_of(T value) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    return text_of(static_cast<float>(value));
  } else if constexpr (std::is_integral_v<T>) {
    return std::to_string(value);
  } else {
    char text[32];
    std::snprintf(text, sizeof text, "%.6g", static_cast<double>(value));
    return text;
  }
}

/// The elements that are shown, as text of one width.
struct Printer {
  const Shape& whole;  // shape of the tensor
  const Shape& shape;  // shape of what is shown
  std::vector<std::string> texts;
  size_t next = 0;

  void print(std::ostream& out, int dim) {
    if (dim == shape.rank()) {
      out << texts[next++];
      return;
    }
    const bool last = dim == shape.rank() - 1;
    // Between rows one newline, between matrices two, …; brackets that stay open indent what follows.
    std::string separator = ",";
    if (last) {
      separator += ' ';
    } else {
      separator.append(static_cast<size_t>(shape.rank() - dim - 1), '\n').append(static_cast<size_t>(dim + 1), ' ');
    }
    out << '[';
    for (int64_t i = 0; i < shape[dim]; ++i) {
      if (i > 0) out << separator;
      if (i == kEdge && whole[dim] > kLongest) out << "…" << separator;
      print(out, dim + 1);
    }
    out << ']';
  }
};

}  // namespace

std::ostream& operator<<(std::ostream& out, const Tensor& tensor) {
  if (!tensor.defined()) return out << "Tensor undefined";
  out << "Tensor " << tensor.dtype() << ' ' << tensor.shape() << ' ' << tensor.device().name();
  if (tensor.numel() == 0) return out << " []";

  Tensor visible = tensor;
  for (int d = 0; d < tensor.rank(); ++d) {
    const int64_t size = tensor.size(d);
    if (size > kLongest) visible = concatenate({visible.slice(d, 0, kEdge), visible.slice(d, size - kEdge, size)}, d);
  }
  Printer printer{tensor.shape(), visible.shape(), {}};
  visit_dtype(tensor.dtype(), [&](auto zero) {
    for (const auto value : visible.to_vector<decltype(zero)>()) printer.texts.push_back(text_of(value));
  });
  size_t width = 0;
  for (const std::string& text : printer.texts) width = std::max(width, text.size());
  for (std::string& text : printer.texts) text.insert(0, width - text.size(), ' ');

  out << (tensor.rank() < 2 ? ' ' : '\n');
  printer.print(out, 0);
  return out;
}

}  // namespace tacit
