#include "ssl/train/trainer.h"

#include <chrono>
#include <cmath>
#include <optional>

#include "ssl/train/captured_step.h"
#include "ssl/train/settings.h"
#include "tensor/late_numbers.h"

namespace tacit::ssl {

namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// A step whose figures are not read yet.
struct Made {
  StepRecord record;
  std::vector<std::string> names;  // of the figures behind the loss
  LateNumbers figures;
};

class Loop {
 public:
  explicit Loop(Training& t) : t_(t) {
    if (!t_.graph) return;
    TACIT_CHECK(t_.late, "--cuda-graph needs a device that computes while the host goes on");
    captured_ = std::make_unique<CapturedStep>(
        [this](const Batch& batch, const Progress& progress) { return step(batch, progress); });
  }

  StopReason run() {
    for (int64_t step = t_.done; step < t_.last; ++step) {
      const double start = now();
      const Batch batch = next();
      const double ready = now();
      Made made;
      StepRecord& record = made.record;
      record.step = step + 1;
      record.epoch = step / t_.steps_per_epoch + 1;
      record.epoch_end = record.step % t_.steps_per_epoch == 0;
      record.lr = t_.lr(step);
      record.images = static_cast<int64_t>(batch.indices.size());
      record.waited = ready - start;
      make(made, batch);
      report_pending(false);
      record.seconds = now() - start;
      pending_ = std::move(made);
      const bool last = step + 1 == t_.last, wanted = t_.needs_model && t_.needs_model(pending_->record);
      if (!t_.late || last || wanted) report_pending(true);
      if (!t_.stop || !t_.stop()) continue;
      report_pending(true);
      return StopReason::Interrupted;
    }
    return StopReason::Finished;
  }

 private:
  Batch next() {
    try {
      return t_.next();
    } catch (...) {
      report_pending(true);
      throw;
    }
  }

  void make(Made& made, const Batch& batch) {
    StepRecord& record = made.record;
    t_.optimizer->set_lr(record.lr);
    const Progress progress{record.step - 1, t_.steps};
    made.figures = LateNumbers(captured_ ? (*captured_)(batch, progress) : step(batch, progress, &record));
    made.names = names_;
  }

  /// The loss and the figures of names_. `now`: the loss is looked at before a weight changes, unless it is to be late.
  StepFigures step(const Batch& batch, const Progress& progress, StepRecord* now = nullptr) {
    const Variable loss = t_.loss(batch, progress);
    if (now != nullptr && !t_.late) check_loss(*now, loss.item());
    std::map<std::string, Tensor> metrics;
    if (t_.metrics) metrics = t_.metrics();
    t_.optimizer->zero_grad();
    loss.backward();
    if (t_.clip > 0) metrics["grad_norm"] = t_.optimizer->clip_grad_norm(t_.clip);
    t_.optimizer->step();
    if (t_.after_step) t_.after_step(progress);
    StepFigures figures = {loss.value()};
    names_.clear();
    for (const auto& [name, figure] : metrics) names_.push_back(name), figures.push_back(figure);
    return figures;
  }

  void check_loss(StepRecord& record, double loss) const {
    record.loss = loss;
    TACIT_CHECK(std::isfinite(record.loss), "the loss is ", shortest(record.loss), " at step ", record.step, " (epoch ",
                record.epoch, ", lr ", record.lr, "). ", t_.remedy ? t_.remedy() : "Try a smaller --lr");
  }

  void report_pending(bool current) {
    if (!pending_) return;
    // Nothing is pending while it is reported, whatever is thrown.
    Made made = std::move(*pending_);
    pending_.reset();
    StepRecord& record = made.record;
    record.current = current;
    const std::vector<double> figures = made.figures.get();
    if (t_.late) check_loss(record, figures[0]);
    for (size_t i = 0; i < made.names.size(); ++i) record.metrics[made.names[i]] = figures[i + 1];
    if (record.epoch != epoch_) epoch_ = record.epoch, epoch_loss_ = 0, epoch_steps_ = 0;
    epoch_loss_ += record.loss;
    record.mean_steps = ++epoch_steps_;
    record.mean_loss = epoch_loss_ / static_cast<double>(epoch_steps_);
    if (t_.on_step) t_.on_step(record);
  }

  Training& t_;
  std::unique_ptr<CapturedStep> captured_;
  std::vector<std::string> names_;  // of the step's figures behind the loss
  std::optional<Made> pending_;
  int64_t epoch_ = -1, epoch_steps_ = 0;
  double epoch_loss_ = 0;
};

}  // namespace

StopReason train(Training& t) { return Loop(t).run(); }

}  // namespace tacit::ssl
