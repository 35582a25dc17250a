#include "ssl/train/finetune.h"

#include <algorithm>

#include "autograd/ops.h"
#include "nn/dropout.h"
#include "nn/encoder_layers.h"
#include "nn/eval_mode.h"
#include "nn/init.h"
#include "nn/linear.h"
#include "nn/mlp.h"
#include "optim/adamw.h"
#include "optim/schedule.h"
#include "ssl/evaluate/labels.h"
#include "ssl/train/check.h"
#include "tensor/counted.h"
#include "tensor/join.h"

namespace tacit::ssl {

namespace {

class Classifier final : public nn::Module {
 public:
  Classifier(nn::Encoder encoder, int64_t classes, const PlainViews& views, const FinetuneOptions& options)
      : encoder_(std::move(encoder)), frozen_(options.frozen) {
    if (!frozen_.empty()) encoder_.eval();
    const int64_t read = frozen_.empty()
                             ? encoder_.features()
                             : features(Tensor::zeros({1, views.image_size, views.image_size, views.channels})).size(1);
    if (!options.hidden.empty()) {
      std::vector<int64_t> sizes = options.hidden;
      sizes.push_back(classes);
      layers_.emplace(read, sizes, nn::MLPOptions{.seed = options.seed, .path = "head"});
      return;
    }
    head_.emplace(read, classes);
    nn::initialize(*head_, options.seed, "head");
    if (options.head_std == 0) return;
    const nn::Initializer init(options.seed, "head");
    init("weight", head_->weight, nn::Init::truncated_normal(options.head_std));
    init("bias", head_->bias, nn::Init::constant(0));
  }
  /// For layer-wise decay: the layer of a parameter by its full name.
  int64_t layer(const std::string& name) {
    const std::string prefix = "encoder.";
    return name.rfind(prefix, 0) == 0 ? nn::encoder_layer(encoder_, name.substr(prefix.size()))
                                      : nn::head_layer(encoder_);
  }
  Variable operator()(const Variable& images) {
    const Variable x = features(images);
    return widen(layers_ ? (*layers_)(x) : (*head_)(x));
  }
  /// Not what is frozen: it neither learns nor changes its mode.
  void visit(nn::Visitor& v) override {
    if (frozen_.empty()) v("encoder", encoder_);
    if (layers_)
      v("head", *layers_);
    else
      v("head", *head_);
  }

 private:
  /// What the head reads: (N, D).
  Variable features(const Variable& images) {
    if (frozen_.empty()) return encoder_(images);
    const NoGrad no_grad;
    const Tensor map = encoder_.stage_map(frozen_, images).value();
    return Variable(map.reshape({map.size(0), map.numel() / map.size(0)}));
  }

  nn::Encoder encoder_;
  std::string frozen_;
  std::optional<nn::Linear> head_;  ///< where there are no hidden layers
  std::optional<nn::MLP> layers_;   ///< where there are
};

std::vector<optim::ParamGroup> parameter_groups(Classifier& model, const FinetuneOptions& options) {
  const std::vector<std::string> no_decay = {"cls_token", "pos_embed"};  // as DeiT and MAE fine-tune
  if (options.layer_decay == 1) return optim::default_groups(model, options.weight_decay, no_decay);
  return optim::layer_decay_groups(
      model, options.weight_decay, options.layer_decay, [&](const std::string& name) { return model.layer(name); },
      no_decay);
}

LoaderOptions loader_options(const FinetuneOptions& options, const PlainViews& views, int64_t images) {
  LoaderOptions loading;
  loading.batch_size = options.batch_size > 0 ? options.batch_size : finetune_batch_size(images);
  TACIT_CHECK(loading.batch_size <= images, "--batch-size ", loading.batch_size, " is more than the ",
              counted(images, "training image"));
  loading.image_size = views.image_size;
  loading.channels = views.channels;
  loading.views = {augmentation(options.augmentation, views.image_size, views.channels)[0]};
  loading.views[0].mean = views.normalisation.mean;
  loading.views[0].std = views.normalisation.std;
  loading.views[0].lightness = views.normalisation.lightness;
  loading.views[0].erase = options.random_erasing;
  loading.views[0].erase_noise = options.erase_with == "noise";
  loading.seed = options.seed;
  return loading;
}

std::vector<int64_t> predict(Classifier& model, const ImageSource& test, const PlainViews& views) {
  const nn::EvalMode eval(model);
  const NoGrad no_grad;
  std::vector<int64_t> predictions;
  for_each_plain_batch(test, views.normalisation, views.image_size, views.channels, views.images_at_once(),
                       [&](const Tensor& images, int64_t) {
                         const std::vector<int64_t> best = argmax(model(images).value()).to_vector<int64_t>();
                         predictions.insert(predictions.end(), best.begin(), best.end());
                       });
  return predictions;
}

/// Whether every parameter learns: MoCo's --stop-grad-conv1 leaves some that do not.
bool learns_whole(nn::Encoder& encoder) {
  const auto parameters = encoder.named_parameters();
  return std::all_of(parameters.begin(), parameters.end(),
                     [](const auto& named) { return named.second->variable().requires_grad(); });
}

}  // namespace

FinetuneOptions finetune_recipe(const std::string& name) {
  if (name == "default") return {};
  if (name == "mixup") return {.mix = {.mixup = 0.8, .cutmix = 1.0}};
  TACIT_CHECK(name == "mae", "[finetune] unknown recipe '", name, "'; known: ", join(finetune_recipe_names()));
  // facebookresearch/mae, FINETUNE.md and main_finetune.py, ViT-B; RandAugment is left out.
  FinetuneOptions o;
  o.epochs = 100;
  o.lr.reset();
  o.base_lr = 5e-4;
  o.warmup_fraction = 0.05;  // 5 epochs of 100
  o.layer_decay = 0.65;
  o.label_smoothing = 0.1;
  o.mix = {.mixup = 0.8, .cutmix = 1.0};
  o.random_erasing = 0.25;
  o.head_std = 2e-5;
  o.pool = "mean";
  o.drop_path = 0.1;
  o.learn_positions = true;
  return o;
}

std::vector<std::string> finetune_recipe_names() { return {"default", "mixup", "mae"}; }

void check_finetune_recipe(const std::string& recipe, const std::string& encoder) {
  check(recipe != "mae" || nn::is_vit(encoder), "--recipe mae is of ViTs; the run's encoder is " + encoder);
}

nn::Encoder finetuning_encoder(const nn::Encoder& encoder, const nn::EncoderOptions& made_by,
                               const FinetuneOptions& options) {
  nn::EncoderOptions wanted = made_by;
  if (options.pool != "run") wanted.pool = options.pool;
  if (options.learn_positions) wanted.position = "learned";
  wanted.drop_path = options.drop_path;
  wanted.bn_splits = 0;  // MoCo's groups hide from a batch's keys what its queries know; labels need none
  nn::Encoder source = encoder;
  const bool of_vit =
      wanted.pool != made_by.pool || wanted.position != made_by.position || wanted.drop_path != made_by.drop_path;
  if (!of_vit && wanted.bn_splits == made_by.bn_splits && learns_whole(source)) return source;
  TACIT_CHECK(!of_vit || nn::is_vit(made_by.name),
              "[finetune] --pool, --drop-path and --learn-positions are of a ViT; ", made_by.name,
              " has none of them (nor has it --recipe mae)");
  nn::Encoder rebuilt = nn::make_encoder(wanted);
  const nn::LoadReport report = nn::load_state(rebuilt, nn::state_dict(source), false);
  for (const std::string& name : report.missing)
    TACIT_CHECK(name.rfind("fc_norm.", 0) == 0 || name.rfind("norm.", 0) == 0, "[finetune] the encoder lacks ", name);
  return rebuilt;
}

int64_t finetune_batch_size(int64_t images) {
  const int64_t batch = images <= 10 ? 10 : images <= 100 ? 50 : images <= 5000 ? 64 : 128;
  return std::min(batch, images);
}

FinetuneResult finetune(nn::Encoder encoder, const ImageSourcePtr& train_source, const ImageSourcePtr& test,
                        const PlainViews& views, const FinetuneOptions& options, const FinetuneObserver& observer) {
  const int64_t classes = std::max(check_labelled(labels_of(*train_source), "the training split"),
                                   check_labelled(labels_of(*test), "the test split"));
  const LoaderOptions loading = loader_options(options, views, train_source->size());
  Loader loader(train_source, loading);

  Classifier model(std::move(encoder), classes, views, options);
  FinetuneResult result;
  TACIT_CHECK(options.lr.has_value() != options.base_lr.has_value(), "[finetune] give one of --lr and --base-lr");
  result.lr = options.lr ? *options.lr : *options.base_lr * static_cast<double>(loading.batch_size) / 256;
  optim::AdamW optimizer(parameter_groups(model, options),
                         {.lr = result.lr, .beta1 = options.beta1, .beta2 = options.beta2});
  Training training;
  training.steps_per_epoch = loader.batches_per_epoch();
  training.steps = training.last = std::max(options.min_steps, options.epochs * training.steps_per_epoch);
  training.next = [&] { return loader.next(); };
  training.loss = [&](const Batch& batch, const Progress& progress) {
    nn::set_dropout_step(model, options.seed, progress.step);
    const Tensor& images = batch.views[0];
    const Mix mix = draw_mix(options.mix, images.size(1), images.size(2), options.seed, progress.step);
    return mixed_cross_entropy(model(mix_images(images, mix)), batch.labels, mix, options.label_smoothing);
  };
  const auto warmup = static_cast<int64_t>(options.warmup_fraction * static_cast<double>(training.steps));
  training.lr = [&](int64_t step) { return optim::warmup_cosine(step, warmup, training.steps, result.lr); };
  training.optimizer = &optimizer;
  training.late = !default_device().backend().host_accessible();
  training.on_step = [&](StepRecord& record) { observer.step(record); };
  observer.begin(training.steps, training.steps_per_epoch);
  train(training);

  result.steps = training.steps;
  result.epochs = (training.steps + training.steps_per_epoch - 1) / training.steps_per_epoch;
  result.predictions = predict(model, *test, views);
  result.top1 = accuracy(result.predictions, labels_of(*test));
  return result;
}

}  // namespace tacit::ssl
