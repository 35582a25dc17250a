// tacit finetune RUN: the whole encoder and a linear head, trained on labels.
#include "ssl/train/finetune.h"

#include <nlohmann/json.hpp>

#include "cli/progress.h"
#include "cli/run_command.h"
#include "ssl/evaluate/label_efficiency.h"

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
        .add("from-scratch", &from_scratch_, "the same network and recipe without pre-training")
        .add("labels-per-class", &labels_per_class_, "only n labelled images of every class (0: all)")
        .add("draw", &draw_, "which draw of them")
        .add("epochs", &options_.epochs, "length of the schedule, but at least --min-steps")
        .add("min-steps", &options_.min_steps, "steps however few images there are")
        .add("batch-size", &options_.batch_size, "images a step (0: 10 to 128, by their number)")
        .add("lr", &options_.lr, "peak learning rate of AdamW")
        .add("weight-decay", &options_.weight_decay, "on weights")
        .add("augmentation", &options_.augmentation, "policy of the training images");
  }
  void check() const override {
    check_flag("epochs", static_cast<double>(options_.epochs), 1, 1e6);
    check_flag("min-steps", static_cast<double>(options_.min_steps), 1, 1e9);
    check_flag("batch-size", static_cast<double>(options_.batch_size), 0, 1e6);
    if (options_.batch_size == 1) throw UsageError("--batch-size 1 is too few for batch norm; use 2 or more");
    check_flag("labels-per-class", static_cast<double>(labels_per_class_), 0, 1e9);
    check_flag("draw", static_cast<double>(draw_), 0, 1e9);
    if (draw_ > 0 && labels_per_class_ == 0)
      throw UsageError("--draw " + std::to_string(draw_) + " is a choice of labelled images: give --labels-per-class");
    check_flag("lr", options_.lr, 0, 1e30);
    check_flag("weight-decay", options_.weight_decay, 0, 1e6);
    const std::vector<std::string> known = ssl::augmentation_names();
    if (std::find(known.begin(), known.end(), options_.augmentation) == known.end())
      throw UsageError("--augmentation: unknown value '" + options_.augmentation + "'");
  }
  int run_on(ssl::Pretrained& run) override {
    options_.seed = static_cast<uint64_t>(common_.seed);
    ssl::ImageSourcePtr train = data_.open(ssl::Split::Train, common_);
    const ssl::ImageSourcePtr test = data_.open(ssl::Split::Test, common_);
    if (labels_per_class_ > 0) {
      const auto classes = static_cast<int64_t>(train->class_names().size());
      TACIT_CHECK(classes > 0, "--labels-per-class needs labelled images");
      train = ssl::subset(train, ssl::about_flag("labels-per-class", [&] {
                                   return ssl::draw_labels(ssl::labels_of(*train), classes, labels_per_class_, draw_,
                                                           options_.seed, train->class_names());
                                 }).indices);
    }
    nn::EncoderOptions fresh = run.info.config.encoder_options();
    fresh.seed = options_.seed;
    nn::Encoder encoder = from_scratch_ ? nn::make_encoder(fresh) : run.method->encoder();
    Progress progress(common_.quiet);
    ssl::FinetuneObserver observer;
    observer.begin = [&](int64_t steps, int64_t steps_per_epoch) {
      ssl::RunPlan plan;
      plan.last = plan.steps = steps;
      plan.steps_per_epoch = steps_per_epoch;
      plan.epochs = (steps + steps_per_epoch - 1) / steps_per_epoch;
      plan.chance.loss = std::log(static_cast<double>(std::max<size_t>(train->class_names().size(), 1)));
      progress.begin(plan);
    };
    observer.step = [&](const ssl::StepRecord& record) { progress.step(record); };
    const ssl::FinetuneResult result = ssl::finetune(std::move(encoder), train, test, run.views, options_, observer);
    progress.finish();
    print_result(common_, std::string(from_scratch_ ? "from scratch: " : "fine-tuned: ") + percent(result.top1) +
                              " of " + std::to_string(test->size()) + " test images, trained on " +
                              std::to_string(train->size()) + " in " + std::to_string(result.steps) + " steps");
    write_json(common_, {{"top1", result.top1},
                         {"epochs", result.epochs},
                         {"steps", result.steps},
                         {"from_scratch", from_scratch_},
                         {"train_images", train->size()},
                         {"test_images", test->size()}});
    return 0;
  }

 private:
  ssl::FinetuneOptions options_;
  bool from_scratch_ = false;
  int64_t labels_per_class_ = 0, draw_ = 0;
};

}  // namespace

std::unique_ptr<Command> make_finetune() { return std::make_unique<Finetune>(); }

}  // namespace tacit::cli
