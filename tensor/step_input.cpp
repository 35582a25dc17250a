#include "tensor/step_input.h"

#include <utility>

namespace tacit {

namespace {
thread_local StepInputs* collecting = nullptr;
}

StepInputs::Collect::Collect(StepInputs& inputs, bool written) : before_(std::exchange(collecting, &inputs)) {
  inputs.written_ = written;
  inputs.writers_.clear();
  inputs.next_ = 0;
}
StepInputs::Collect::~Collect() { collecting = before_; }

void StepInputs::write(int64_t step) const {
  for (const auto& write : writers_) write(step);
}

Tensor StepInputs::place(const Shape& shape, DType dtype, const Device& device) {
  if (collecting == nullptr) return Tensor::empty(shape, dtype, device);
  std::vector<Tensor>& places = collecting->places_;
  const size_t at = collecting->next_++;
  if (at == places.size()) places.emplace_back();
  Tensor& place = places[at];
  if (!place.defined() || place.shape() != shape || place.dtype() != dtype || !(place.device() == device))
    place = Tensor::empty(shape, dtype, device);
  return place;
}

void StepInputs::add(std::function<void(int64_t)> write, int64_t step) {
  if (collecting == nullptr) {
    write(step);
    return;
  }
  collecting->writers_.push_back(std::move(write));
  if (collecting->written_) collecting->writers_.back()(step);
}

}  // namespace tacit
