#include "tensor/multiply_adds.h"

namespace tacit {

namespace {
thread_local MultiplyAdds* innermost = nullptr;
}

MultiplyAdds::MultiplyAdds() : outer_(innermost) { innermost = this; }
MultiplyAdds::~MultiplyAdds() { innermost = outer_; }

void MultiplyAdds::add(int64_t outputs, int64_t summed) {
  for (MultiplyAdds* counter = innermost; counter; counter = counter->outer_) counter->count_ += outputs * summed;
}

}  // namespace tacit
