// tacit finetune RUN: the whole encoder and a linear head, trained on labels.
#include "ssl/train/finetune.h"

#include <nlohmann/json.hpp>

#include "cli/progress.h"
#include "cli/run_command.h"
#include "nn/eval_mode.h"
#include "ssl/evaluate/label_efficiency.h"
#include "ssl/train/check.h"
#include "tensor/counted.h"

namespace tacit::cli {

namespace {

class Finetune final : public RunCommand {
 public:
  const char* name() const override { return "finetune"; }
  const char* summary() const override { return "train the whole encoder and a linear head on labels"; }
  const char* example() const override {
    return "  tacit finetune run --data fashion-mnist --labels-per-class 100\n"
           "  tacit finetune run --data fashion-mnist --labels-per-class 100 --from-scratch";
  }
  void own_settings(Settings& settings) override {
    settings.group("Fine-tuning")
        .add("recipe", &recipe_,
             "default, mixup: with mixup and CutMix, or mae: layer decay, drop path, mixup, CutMix, erasing, "
             "smoothing, mean pool")
        .add("from-scratch", &from_scratch_, "the same network and recipe without pre-training")
        .add("labels-per-class", &labels_per_class_, "only n labelled images of every class (0: all)")
        .add("draw", &draw_, "which draw of them")
        .add("epochs", &options_.epochs,
             "length of the schedule; where only this is said, it is not stretched to --min-steps")
        .add("min-steps", &options_.min_steps,
             "the schedule has at least so many, however few images there are, unless only --epochs is said")
        .add("batch-size", &options_.batch_size, "images a step (0: 10 to 128, by their number)")
        .add("lr", &options_.lr, "peak learning rate of AdamW")
        .add("base-lr", &options_.base_lr, "the same for a batch of 256: lr = base-lr * batch-size / 256")
        .add("warmup-fraction", &options_.warmup_fraction, "of the schedule")
        .add("weight-decay", &options_.weight_decay, "on weights, not on class token and positions")
        .add("beta1", &options_.beta1, "of AdamW")
        .add("beta2", &options_.beta2, "of AdamW")
        .add("layer-decay", &options_.layer_decay, "each layer's learning rate, as a part of that of the layer above")
        .add("augmentation", &options_.augmentation, "policy of the training images")
        .add("random-erasing", &options_.random_erasing, "probability that a box of an image is erased")
        .add("erase-with", &options_.erase_with, "noise, or mean")
        .add("mixup", &options_.mix.mixup, "alpha of mixup's Beta distribution (0: none)")
        .add("cutmix", &options_.mix.cutmix, "alpha of CutMix's (0: none); with both, each step draws one")
        .add("label-smoothing", &options_.label_smoothing, "of the cross-entropy")
        .add("frozen", &options_.frozen,
             "a stage of the encoder (block2, layer3, …), which then stays as it is: only a head on its map learns")
        .add("hidden", &options_.hidden, "sizes of hidden layers of the head, e.g. 200,200 (default: none)")
        .add("head-std", &options_.head_std, "of the head's initial weights (0: torch's default)")
        .add("pool", &options_.pool, "a ViT's features: cls, mean (of the patch tokens), or run: as pre-trained")
        .add("drop-path", &options_.drop_path, "of a ViT: probability that a sample skips the last block's branches")
        .add("learn-positions", &options_.learn_positions, "of a ViT: its fixed position embedding learns too")
        .exclusive("lr", "base-lr")
        .used_if(
            "", "erase-with", [this] { return options_.random_erasing > 0; },
            "--erase-with is of --random-erasing, which is 0")
        .used_if(
            "", "head-std", [this] { return options_.hidden.empty(); },
            "--head-std is of a head of one layer; --hidden gives it more");
    for (const char* name : {"layer-decay", "pool", "drop-path", "learn-positions"})
      settings.used_if(
          "", name, [this] { return options_.frozen.empty(); },
          std::string("--") + name + " is of an encoder that learns; --frozen keeps it as it is");
  }
  /// default < recipe < configuration file < command line.
  void resolve(Settings& settings, const ssl::ConfigLayers& layers) override {
    Command::resolve(settings, layers);
    ssl::check_choice("recipe", recipe_, ssl::finetune_recipe_names());
    options_ = ssl::finetune_recipe(recipe_);
    Command::resolve(settings, layers);
    if (said("epochs") && !said("min-steps")) options_.min_steps = 1;
  }
  void check_own() const override {
    check_flag("epochs", static_cast<double>(options_.epochs), 1, 1e6);
    check_flag("min-steps", static_cast<double>(options_.min_steps), 1, 1e9);
    check_flag("batch-size", static_cast<double>(options_.batch_size), 0, 1e6);
    if (options_.batch_size == 1) throw UsageError("--batch-size 1 is too few for batch norm; use 2 or more");
    check_flag("labels-per-class", static_cast<double>(labels_per_class_), 0, 1e9);
    check_flag("draw", static_cast<double>(draw_), 0, 1e9);
    if (draw_ > 0 && labels_per_class_ == 0)
      throw UsageError("--draw " + std::to_string(draw_) + " is a choice of labelled images: give --labels-per-class");
    check_flag("lr", options_.lr.value_or(0), 0, 1e30);
    check_flag("base-lr", options_.base_lr.value_or(0), 0, 1e30);
    check_flag("warmup-fraction", options_.warmup_fraction, 0, 1);
    check_flag("weight-decay", options_.weight_decay, 0, 1e6);
    check_flag("beta1", options_.beta1, 0, 0.9999999);
    check_flag("beta2", options_.beta2, 0, 0.9999999);
    check_flag("layer-decay", options_.layer_decay, 1e-3, 1);
    check_flag("random-erasing", options_.random_erasing, 0, 1);
    check_flag("mixup", options_.mix.mixup, 0, 1e3);
    check_flag("cutmix", options_.mix.cutmix, 0, 1e3);
    check_flag("label-smoothing", options_.label_smoothing, 0, 0.9999999);
    for (const int64_t size : options_.hidden) check_flag("hidden", static_cast<double>(size), 1, 65536);
    check_flag("head-std", options_.head_std, 0, 8);  // its draws are cut at 2
    check_flag("drop-path", options_.drop_path, 0, 0.9999999);
    ssl::check_choice("augmentation", options_.augmentation, ssl::augmentation_names());
    ssl::check_choice("erase-with", options_.erase_with, {"noise", "mean"});
    ssl::check_choice("pool", options_.pool, {"run", "cls", "mean"});
  }
  int run_on(ssl::Pretrained& run) override {
    options_.seed = static_cast<uint64_t>(common_.seed);
    const std::string& name = run.info.config.encoder;
    for (const char* flag : {"pool", "drop-path", "learn-positions"})
      if (!nn::is_vit(name) && flagged(flag))
        throw UsageError(std::string("--") + flag + " is of a ViT; the run's encoder is " + name);
    ssl::check_finetune_recipe(recipe_, name);
    if (!options_.frozen.empty())  // an unknown stage, or one without a map, before any data is read
      ssl::as_usage("--frozen: ", [&] {
        const nn::EvalMode mode(run.method->encoder());
        const NoGrad no_grad;
        run.method->encoder().stage_map(
            options_.frozen, Tensor::zeros({1, run.views.image_size, run.views.image_size, run.views.channels}));
      });
    const TrainAndTest data = data_.open_train_and_test(common_);
    const ssl::ImageSourcePtr& test = data.test;
    ssl::ImageSourcePtr train = data.train;
    if (labels_per_class_ > 0) {
      const std::vector<int64_t> labels = ssl::labels_of(*train);
      const int64_t classes = ssl::check_labelled(labels, "the training split");
      train = ssl::subset(train, ssl::about_flag("labels-per-class", [&] {
                                   return ssl::draw_labels(labels, classes, labels_per_class_, draw_, options_.seed,
                                                           train->class_names());
                                 }).indices);
    }
    nn::EncoderOptions fresh = run.info.config.encoder_options();
    fresh.seed = options_.seed;
    nn::Encoder encoder =
        ssl::finetuning_encoder(from_scratch_ ? nn::make_encoder(fresh) : run.method->encoder(), fresh, options_);
    Progress progress(common_.quiet);
    ssl::FinetuneObserver observer;
    observer.begin = [&](int64_t steps, int64_t steps_per_epoch) {
      ssl::RunPlan plan;
      plan.last = plan.steps = steps;
      plan.steps_per_epoch = steps_per_epoch;
      plan.epochs = (steps + steps_per_epoch - 1) / steps_per_epoch;
      plan.chance.loss = std::log(static_cast<double>(std::max<size_t>(train->class_names().size(), 1)));
      const int64_t asked = options_.epochs * steps_per_epoch;
      say(common_, "training    to step " + std::to_string(steps) + ", epoch " + std::to_string(plan.epochs) +
                       (steps > asked ? ", for --min-steps; --epochs " + std::to_string(options_.epochs) +
                                            " alone would end at step " + std::to_string(asked)
                                      : ""));
      progress.begin(plan);
    };
    observer.step = [&](const ssl::StepRecord& record) { progress.step(record); };
    const ssl::FinetuneResult result = ssl::finetune(std::move(encoder), train, test, run.views, options_, observer);
    progress.finish();
    print_result(common_, (!options_.frozen.empty()
                               ? "probe on " + options_.frozen + (from_scratch_ ? " of random weights: " : ": ")
                           : from_scratch_ ? "from scratch: "
                                           : "fine-tuned: ") +
                              percent(result.top1) + " of " + counted(test->size(), "test image") + ", trained on " +
                              std::to_string(train->size()) + " in " + counted(result.steps, "step"));
    write_json(common_, {{"top1", result.top1},
                         {"epochs", result.epochs},
                         {"steps", result.steps},
                         {"lr", result.lr},
                         {"recipe", recipe_},
                         {"from_scratch", from_scratch_},
                         {"frozen", options_.frozen},
                         {"train_images", train->size()},
                         {"test_images", test->size()}});
    return 0;
  }

 private:
  ssl::FinetuneOptions options_;
  std::string recipe_ = "default";
  bool from_scratch_ = false;
  int64_t labels_per_class_ = 0, draw_ = 0;
};

}  // namespace

std::unique_ptr<Command> make_finetune() { return std::make_unique<Finetune>(); }

}  // namespace tacit::cli
