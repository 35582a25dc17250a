#include "ssl/train/finetune.h"

#include <algorithm>

#include "autograd/ops.h"
#include "nn/init.h"
#include "nn/linear.h"
#include "optim/adamw.h"
#include "optim/schedule.h"

namespace tacit::ssl {

namespace {

class Classifier final : public nn::Module {
 public:
  Classifier(nn::Encoder encoder, int64_t classes, uint64_t seed)
      : encoder_(std::move(encoder)), head_(encoder_.features(), classes) {
    nn::initialize(head_, seed, "head");
  }
  Variable operator()(const Variable& images) { return head_(encoder_(images)); }
  void visit(nn::Visitor& v) override {
    v("encoder", encoder_);
    v("head", head_);
  }

 private:
  nn::Encoder encoder_;
  nn::Linear head_;
};

/// The largest label + 1. Throws Error where a label is missing.
int64_t count_classes(const ImageSource& source, const char* what) {
  int64_t classes = 0;
  for (const int64_t label : labels_of(source)) {
    TACIT_CHECK(label >= 0, "the ", what, " images have no labels; supervised training needs them");
    classes = std::max(classes, label + 1);
  }
  return classes;
}

std::vector<int64_t> predict(Classifier& model, const ImageSource& test, const PlainViews& views) {
  const EvalMode eval(model);
  const NoGrad no_grad;
  std::vector<int64_t> predictions;
  for_each_plain_batch(test, views.normalisation, views.image_size, views.channels, views.batch_size,
                       [&](const Tensor& images, int64_t) {
                         const std::vector<int64_t> best = argmax(model(images).value()).to_vector<int64_t>();
                         predictions.insert(predictions.end(), best.begin(), best.end());
                       });
  return predictions;
}

}  // namespace

int64_t finetune_batch_size(int64_t images) {
  const int64_t batch = images <= 10 ? 10 : images <= 100 ? 50 : images <= 5000 ? 64 : 128;
  return std::min(batch, images);
}

FinetuneResult finetune(nn::Encoder encoder, const ImageSourcePtr& train_source, const ImageSourcePtr& test,
                        const PlainViews& views, const FinetuneOptions& options, const FinetuneObserver& observer) {
  const int64_t classes = std::max(count_classes(*train_source, "training"), count_classes(*test, "test"));
  LoaderOptions loading;
  loading.batch_size = options.batch_size > 0 ? options.batch_size : finetune_batch_size(train_source->size());
  TACIT_CHECK(loading.batch_size <= train_source->size(), "--batch-size ", loading.batch_size, " is more than the ",
              train_source->size(), " training images");
  loading.image_size = views.image_size;
  loading.channels = views.channels;
  loading.views = {augmentation(options.augmentation, views.image_size, views.channels)[0]};
  loading.views[0].mean = views.normalisation.mean;
  loading.views[0].std = views.normalisation.std;
  loading.seed = options.seed;
  Loader loader(train_source, loading);

  Classifier model(std::move(encoder), classes, options.seed);
  optim::AdamW optimizer(optim::default_groups(model, options.weight_decay), {.lr = options.lr});
  Training training;
  training.steps_per_epoch = loader.batches_per_epoch();
  training.steps = training.last = std::max(options.min_steps, options.epochs * training.steps_per_epoch);
  training.next = [&] { return loader.next(); };
  training.loss = [&](const Batch& batch, const Progress&) {
    return cross_entropy(model(batch.views[0]), batch.labels);
  };
  const auto warmup = static_cast<int64_t>(options.warmup_fraction * static_cast<double>(training.steps));
  training.lr = [&](int64_t step) { return optim::warmup_cosine(step, warmup, training.steps, options.lr); };
  training.optimizer = &optimizer;
  training.on_step = [&](StepRecord& record) { observer.step(record); };
  observer.begin(training.steps, training.steps_per_epoch);
  train(training);

  FinetuneResult result;
  result.steps = training.steps;
  result.epochs = (training.steps + training.steps_per_epoch - 1) / training.steps_per_epoch;
  result.predictions = predict(model, *test, views);
  result.top1 = accuracy(result.predictions, labels_of(*test));
  return result;
}

}  // namespace tacit::ssl
