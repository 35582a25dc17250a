#include "ssl/train/captured_step.h"

#include <utility>

namespace tacit::ssl {

CapturedStep::CapturedStep(std::function<StepFigures(const Batch&, const Progress&)> step)
    : step_(std::move(step)), allocator_(default_device().allocator()) {
  TACIT_CHECK(default_device().backend().can_capture(), "--cuda-graph is of CUDA; this run is on ",
              default_device().name());
  allocator_.open_pool();
}

CapturedStep::~CapturedStep() {
  graph_.reset();  // waits for it; then its memory is anybody's
  allocator_.close_pool();
}

void CapturedStep::take(const Batch& batch) {
  if (batch_.views.empty())
    for (const Tensor& view : batch.views)
      batch_.views.push_back(Tensor::empty(view.shape(), view.dtype(), view.device()));
  TACIT_CHECK(batch.views.size() == batch_.views.size(), "[cuda-graph] a batch of ", batch.views.size(),
              " views after those of ", batch_.views.size());
  for (size_t v = 0; v < batch.views.size(); ++v) {
    TACIT_CHECK(batch.views[v].shape() == batch_.views[v].shape(), "[cuda-graph] views ", batch.views[v].shape(),
                " after those of ", batch_.views[v].shape());
    batch_.views[v].copy_(batch.views[v]);
  }
  batch_.indices = batch.indices;
}

const StepFigures& CapturedStep::operator()(const Batch& batch, const Progress& progress) {
  if (graph_) {
    take(batch);
    inputs_.write(progress.step);
    graph_->launch();
    return figures_;
  }
  const PoolScope pool(allocator_);
  take(batch);
  figures_.clear();
  const bool warm = done_++ < kWarmUp;
  const StepInputs::Collect collect(inputs_, warm);
  if (warm) {
    figures_ = step_(batch_, progress);
    return figures_;
  }
  allocator_.seal_pool();
  graph_ = default_device().backend().capture([&] { figures_ = step_(batch_, progress); });
  inputs_.write(progress.step);
  graph_->launch();
  return figures_;
}

}  // namespace tacit::ssl
