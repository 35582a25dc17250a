// tacit evaluate RUN: the run beside raw pixels, an untrained encoder and supervised training.
#include "ssl/evaluate/evaluate.h"

#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/feature.h"
#include "cli/figures.h"
#include "cli/progress.h"
#include "cli/run_command.h"
#include "ssl/data/fingerprint.h"
#include "ssl/train/check.h"
#include "ssl/train/finetune.h"
#include "ssl/train/method_entry.h"
#include "ssl/train/scatter.h"
#include "tensor/atomic_file.h"
#include "tensor/counted.h"
#include "tensor/directory.h"

namespace tacit::cli {

namespace {

class Evaluate final : public RunCommand {
 public:
  const char* name() const override { return "evaluate"; }
  const char* summary() const override {
    return "the whole table: kNN, linear probe, label efficiency, beside baselines";
  }
  const char* example() const override { return "  tacit evaluate run --data fashion-mnist --json table.json"; }
  void own_settings(Settings& settings) override {
    settings.group("Table")
        .add("k", &options_.knn.k, "neighbours that vote")
        .add("temperature", &options_.knn.temperature, "T of a neighbour's weight exp(similarity / T)")
        .add("labels-per-class", &options_.labels.labels_per_class, "numbers of labelled images a class, e.g. 10,100")
        .add("draws", &options_.labels.draws, "random choices of them to average over")
        .add("supervised", &supervised_, "the row of the same encoder trained end to end (--supervised=false: skip it)")
        .add("with-finetuning", &with_finetuning_, "also the run fine-tuned end to end by that row's recipe")
        .add("recipe", &recipe_, "of those rows: default, mixup or mae (see tacit finetune)")
        .add("min-steps", &training_.min_steps, "steps of those rows, however few images there are");
    settings.show_default("with-finetuning", "true for mae, else false");
    for (const char* flag : {"recipe", "min-steps"})
      settings.used_if(
          "", flag, [this] { return supervised_ || with_finetuning_ != false; },
          std::string("--") + flag + " is of the rows that train, which are switched off");
    feature_.add(settings);
  }
  void resolve(Settings& settings, const ssl::ConfigLayers& layers) override {
    Command::resolve(settings, layers);
    ssl::check_choice("recipe", recipe_, ssl::finetune_recipe_names());
    training_ = ssl::finetune_recipe(recipe_);
    Command::resolve(settings, layers);
  }
  void check_own() const override {
    check_flag("k", static_cast<double>(options_.knn.k), 1, 1e9);
    check_flag("temperature", options_.knn.temperature, 1e-4, 1e4);
    check_flag("draws", static_cast<double>(options_.labels.draws), 1, 1000);
    check_flag("min-steps", static_cast<double>(training_.min_steps), 1, 1e9);
    for (const int64_t n : options_.labels.labels_per_class)
      check_flag("labels-per-class", static_cast<double>(n), 1, 1e9);
    if (options_.labels.labels_per_class.empty()) throw UsageError("--labels-per-class needs at least one number");
    const std::set<int64_t> different(options_.labels.labels_per_class.begin(), options_.labels.labels_per_class.end());
    if (different.size() < options_.labels.labels_per_class.size())
      throw UsageError("--labels-per-class names a number twice");
  }
  int run_on(ssl::Pretrained& run) override {
    const std::string feature = feature_.chosen(run)[0];
    if (feature != "encoder") options_.stage = feature;
    const bool finetuned = with_finetuning_.value_or(ssl::method_entry(run.info.config.method).judged_by_finetuning);
    if (supervised_ || finetuned) ssl::check_finetune_recipe(recipe_, run.info.config.encoder);
    // The run may be somebody else's: what is left beside it is a convenience, the table on stdout and --json is not.
    const bool beside = warn_if_failing([&] {
      for (const char* file : {"label_draws.json", "evaluation.json"}) AtomicFile probe(beside_run(file));
    });
    const TrainAndTest data = data_.open_train_and_test(common_);
    const ssl::ImageSourcePtr &train = data.train, &test = data.test;
    const int64_t side = std::min(run.views.image_size, ssl::kLargestPixels), pixels = side * side * train->channels();
    check_memory(run, (train->size() + test->size()) * std::max(pixels, run.method->encoder().features()));
    options_.knn.k = possible_k(options_.knn.k, train->size());
    fit_labels(*train);
    nn::EncoderOptions fresh = run.info.config.encoder_options();
    fresh.seed = options_.linear.seed = options_.labels.seed = training_.seed = static_cast<uint64_t>(common_.seed);
    nn::Encoder& encoder = run.method->encoder();
    options_.progress = [this](const std::string& part) { say(common_, part); };
    const auto tuned = [&](const nn::Encoder& start) { return ssl::finetuning_encoder(start, fresh, training_); };
    if (supervised_ || finetuned) tuned(encoder);  // what the recipe cannot do is told before the work
    if (supervised_)
      options_.trained.push_back({"supervised", [&](const ssl::LabelDraw& draw) {
                                    return top1_of_draw("supervised", tuned(nn::make_encoder(fresh)), train, test,
                                                        run.views, draw);
                                  }});
    if (finetuned)
      options_.trained.push_back({"finetuned", [&](const ssl::LabelDraw& draw) {
                                    return top1_of_draw("finetuned", tuned(encoder), train, test, run.views, draw);
                                  }});
    const ssl::EvaluationTable table = ssl::evaluate(encoder, fresh, train, test, run.views, options_);
    print_result(common_, ssl::render(table));
    nlohmann::json figures = to_json(table);
    figures.update(conditions(run, feature, data));
    write_json(common_, figures);
    if (beside)
      warn_if_failing([&] {
        write_file_atomically(beside_run("label_draws.json"), json_text(to_json(table.draws), -1));
        write_file_atomically(beside_run("evaluation.json"), json_text(figures));
        say(common_, "labelled images of each draw: " + beside_run("label_draws.json"));
        draw_pca(table, *test);
      });
    return 0;
  }

 private:
  /// Drops the default numbers of labels that this data does not have; one that was asked for is an Error.
  void fit_labels(const ssl::ImageSource& train) {
    const std::vector<int64_t> labels = ssl::labels_of(train);
    const auto [rarest, rows] = ssl::smallest_class(labels, ssl::check_labelled(labels, "the training split"));
    std::vector<int64_t> possible;
    for (const int64_t n : options_.labels.labels_per_class) {
      if (n <= rows) {
        possible.push_back(n);
        continue;
      }
      const std::vector<std::string> names = train.class_names();  // none where some image of the data had no label
      const std::string name = names.empty() ? std::to_string(rarest) : "'" + names[static_cast<size_t>(rarest)] + "'";
      const std::string why = "--labels-per-class " + std::to_string(n) + ": class " + name + " has only " +
                              counted(rows, "training image");
      TACIT_CHECK(!said("labels-per-class"), why);
      say(common_, why + "; left out of the table");
    }
    options_.labels.labels_per_class = possible;
  }

  /// What the figures are of: a run goes on, and data changes.
  nlohmann::json conditions(const ssl::Pretrained& run, const std::string& feature, const TrainAndTest& data) const {
    return {{"step", run.info.step},
            {"feature", feature},
            {"data", data_.data},
            {"test_data", data_.test_data},
            {"limit", data_.limit},
            {"fingerprint", ssl::data_fingerprint(*data.train)},
            {"test_fingerprint", ssl::data_fingerprint(*data.test)},
            {"seed", common_.seed},
            {"version", TACIT_VERSION}};
  }

  void draw_pca(const ssl::EvaluationTable& table, const ssl::ImageSource& test) {
    if (!table.pca.defined()) return;
    const auto axis = [&](size_t i) {
      return "component " + std::to_string(i + 1) + ", " + percent(table.explained[i]) + " of the variance";
    };
    const std::string path = beside_run("images/pca.png");
    ssl::write_scatter_png(with_directory(path), {.points = table.pca,
                                                  .labels = ssl::labels_of(test),
                                                  .class_names = test.class_names(),
                                                  .title = "Features of " + counted(test.size(), "test image"),
                                                  .x_axis = axis(0),
                                                  .y_axis = axis(1)});
    say(common_, "their two principal components: " + path);
  }

  template <class F>
  bool warn_if_failing(const F& write) const {
    try {
      write();
      return true;
    } catch (const Error& e) {
      say(common_, std::string("warning: nothing is saved beside the run: ") + e.what());
      return false;
    }
  }

  /// A line every half a minute, with the step.
  ssl::FinetuneObserver reporter(const std::string& method) const {
    ssl::FinetuneObserver observer;
    observer.begin = [this](int64_t steps, int64_t) { steps_ = steps; };
    observer.step = [this, method, last = std::chrono::steady_clock::now()](const ssl::StepRecord& record) mutable {
      const auto now = std::chrono::steady_clock::now();
      if (now - last < std::chrono::seconds(30)) return;
      last = now;
      say(common_, method + ": step " + std::to_string(record.step) + " of " + std::to_string(steps_));
    };
    return observer;
  }

  double top1_of_draw(const std::string& method, nn::Encoder encoder, const ssl::ImageSourcePtr& train,
                      const ssl::ImageSourcePtr& test, const ssl::PlainViews& views, const ssl::LabelDraw& draw) const {
    return ssl::finetune(std::move(encoder), ssl::subset(train, draw.indices), test, views, training_, reporter(method))
        .top1;
  }

  ssl::EvaluateOptions options_;
  ssl::FinetuneOptions training_;
  FeatureFlag feature_{false, false};
  std::string recipe_ = "default";
  mutable int64_t steps_ = 0;  // of the training under way
  bool supervised_ = true;
  std::optional<bool> with_finetuning_;  // unset: as the method is judged
};

}  // namespace

std::unique_ptr<Command> make_evaluate() { return std::make_unique<Evaluate>(); }

}  // namespace tacit::cli
