#include "ssl/train/trainer.h"

#include <chrono>
#include <cmath>

#include "ssl/train/settings.h"

namespace tacit::ssl {

namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

void one_step(Training& t, StepRecord& record, const Batch& batch) {
  t.optimizer->set_lr(record.lr);
  const Progress progress{record.step - 1, t.steps};
  const Variable loss = t.loss(batch, progress);
  record.loss = loss.item();
  TACIT_CHECK(std::isfinite(record.loss), "the loss is ", shortest(record.loss), " at step ", record.step, " (epoch ",
              record.epoch, ", lr ", record.lr, "). ", t.remedy ? t.remedy() : "Try a smaller --lr");
  if (t.metrics)
    for (const auto& metric : t.metrics()) record.metrics[metric.first] = metric.second.item();
  t.optimizer->zero_grad();
  loss.backward();
  if (t.clip > 0) record.metrics["grad_norm"] = t.optimizer->clip_grad_norm(t.clip);
  t.optimizer->step();
  if (t.after_step) t.after_step(progress);
}

}  // namespace

StopReason train(Training& t) {
  double epoch_loss = 0;
  int64_t epoch_steps = 0;
  for (int64_t step = t.done; step < t.last; ++step) {
    if (step % t.steps_per_epoch == 0) {
      epoch_loss = 0;
      epoch_steps = 0;
    }
    const double start = now();
    const Batch batch = t.next();
    const double ready = now();
    StepRecord record;
    record.step = step + 1;
    record.epoch = step / t.steps_per_epoch + 1;
    record.epoch_end = record.step % t.steps_per_epoch == 0;
    record.lr = t.lr(step);
    record.images = static_cast<int64_t>(batch.indices.size());
    one_step(t, record, batch);
    epoch_loss += record.loss;
    record.mean_steps = ++epoch_steps;
    record.mean_loss = epoch_loss / static_cast<double>(epoch_steps);
    record.seconds = now() - start;
    record.waited = ready - start;
    if (t.on_step) t.on_step(record);
    if (t.stop && t.stop()) return StopReason::Interrupted;
  }
  return StopReason::Finished;
}

}  // namespace tacit::ssl
