#include "tensor/late_numbers.h"

#include <cstring>

namespace tacit {

LateNumbers::LateNumbers(const std::vector<Tensor>& numbers) {
  std::vector<View> views;
  for (const Tensor& number : numbers) {
    TACIT_CHECK(number.numel() == 1 && number.device() == numbers[0].device(),
                "[late_numbers] needs tensors of one element on one device, got shape ", number.shape());
    views.push_back(number.view());
    dtypes_.push_back(number.dtype());
  }
  if (!views.empty()) download_ = numbers[0].backend().start_download(views);
}

std::vector<double> LateNumbers::get() const {
  std::vector<double> values;
  const char* bytes = download_ ? download_->bytes() : nullptr;
  for (const DType dtype : dtypes_)
    visit_dtype(dtype, [&](auto zero) {
      std::memcpy(&zero, bytes, sizeof zero);
      bytes += sizeof zero;
      if constexpr (std::is_same_v<decltype(zero), BFloat16>)
        values.push_back(static_cast<float>(zero));
      else
        values.push_back(static_cast<double>(zero));
    });
  return values;
}

}  // namespace tacit
