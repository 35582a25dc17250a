// tacit pretrain METHOD: learns an encoder from images without labels.
#include <cstdio>
#include <nlohmann/json.hpp>
#include <utility>

#include "cli/command.h"
#include "cli/method_list.h"
#include "cli/progress.h"
#include "cli/provenance.h"
#include "ssl/train/import.h"
#include "ssl/train/interrupt.h"
#include "ssl/train/pretrain.h"
#include "ssl/train/run_directory.h"
#include "tensor/counted.h"
#include "tensor/device.h"

namespace tacit::cli {

namespace {

class Pretrain final : public Command {
 public:
  const char* name() const override { return "pretrain"; }
  const char* summary() const override { return "learn an encoder from images without labels"; }
  const char* example() const override {
    return "  tacit pretrain simclr --data fashion-mnist --recipe fashion-mnist-demo --out run\n"
           "  tacit pretrain simclr --data ~/photos --epochs 50 --out photos-run\n"
           "  tacit pretrain simclr --out run --resume";
  }
  std::vector<Positional> arguments() override {
    return {{"method", "METHOD", "what to learn by; `tacit pretrain --help` lists the methods", &method_}};
  }
  Help help() const override {
    if (method_.empty())
      return {summary(),
              "\nMethods:\n" + method_list("  ") +
                  "\n\ntacit pretrain METHOD --help shows a method's flags and recipes." + "\n\nExample:\n" + example(),
              [](const Settings::Setting&) { return false; }};
    const ssl::MethodEntry& entry = ssl::method_entry(method_);
    std::string below = "\nRecipes:\n";
    for (const ssl::Recipe& recipe : entry.recipes)
      below += std::string("  ") + recipe.name + ": " + recipe.summary + "\n";
    return {method_ + ": " + entry.summary, below + "\nExample:\n" + examples_of(entry),
            [this](const Settings::Setting& setting) { return setting.known_to(method_); }};
  }
  void settings(Settings& settings) override { settings = method_settings(config_); }

  void resolve(Settings&, const ssl::ConfigLayers& said) override {
    layers_ = said;
    layers_.flags.push_back({"method", {method_}});
    const ssl::TrainConfig said_alone = ssl::without_defaults(layers_);
    if (said_alone.resume && said_alone.out.empty()) throw UsageError("--resume needs --out, the run to go on with");
    resuming_ = said_alone.resume && ssl::RunDirectory::has_config(said_alone.out);
    if (said_alone.resume && !resuming_ && said_alone.data.empty())
      throw UsageError("--resume: there is no run in " + said_alone.out +
                       " (no config.toml); to start one there, --data is required");
    // Whatever flags alone show to be wrong, before any work; the recipe may still change with the data's size.
    config_ = resuming_ ? ssl::resolve_resume(said_alone.out, layers_) : ssl::resolve_unseen(layers_);
    common_ = common_of(config_);
  }

  std::string print_config(const Settings&) override {
    open(false);
    return ssl::settings_of(config_).toml();
  }

  int run() override {
    if (config_.out.empty()) throw UsageError("--out is required: the run directory to make");
    // The files that flags name, before the data is read, which may take long.
    ssl::RunDirectory::check(config_.out, config_.resume);
    if (!config_.init.empty() && !(config_.resume && ssl::RunDirectory::has_checkpoint(config_.out)))
      ssl::check_initial_weights(config_.init);
    if (config_.resume && !resuming_)
      say(common_, "warning: --resume: there is no run in " + config_.out + " yet: starting one at step 0");
    start(common_);
    const ssl::ImageSourcePtr source = open(true);
    Progress progress(config_.quiet);
    ssl::PretrainObserver observer;
    observer.say = [&](const std::string& line) {
      progress.finish();  // a warning on the way stands on a line of its own
      say(common_, line);
    };
    observer.begin = [&](const ssl::RunPlan& plan) {
      record_command(config_.out, plan.done, words_, config_.device);
      progress.begin(plan);
    };
    observer.step = [&](const ssl::StepRecord& record) { progress.step(record); };
    const ssl::PretrainResult result = ssl::pretrain(config_, source, observer);
    progress.finish();
    return finish(result, source->labelled());
  }

 private:
  static std::string examples_of(const ssl::MethodEntry& entry) {
    const std::string pretrain = std::string("  tacit pretrain ") + entry.name, photos = pretrain + " --data ~/photos ";
    std::string text;
    for (const ssl::Recipe& recipe : entry.recipes)
      if (recipe.name == std::string("fashion-mnist-demo"))
        text += pretrain + " --data fashion-mnist --recipe fashion-mnist-demo --out run\n";
    text += photos + "--epochs 50 --out photos-run\n";
    if (*entry.example) text += photos + entry.example + " --out other-run\n";
    return text + pretrain + " --out photos-run --resume";
  }

  ssl::ImageSourcePtr open(bool cache) {
    std::vector<std::string> notes;
    const ssl::ImageSourcePtr source = ssl::open_training_data(config_, &notes);
    const auto tell = [&] {
      for (const std::string& note : std::exchange(notes, {})) say(common_, note);
    };
    tell();
    if (!config_.test_data.empty())  // only used by --eval-every, but a wrong one should not wait for that
      ssl::about_flag("test-data", [&] { ssl::open_data(config_.data, ssl::Split::Test, config_.data_options()); });
    if (!resuming_) config_ = ssl::resolve_for(layers_, *source);
    if (config_.device.empty()) config_.device = best_device();  // a resume goes on where the run began
    TACIT_CHECK(config_.precision == "fp32" || config_.device.rfind("cuda", 0) == 0, "--precision ", config_.precision,
                " needs a GPU, and none works here; leave it out");
    TACIT_CHECK(!config_.cuda_graph || config_.device.rfind("cuda", 0) == 0,
                "--cuda-graph needs a GPU, and none works here; leave it out");
    ssl::take_size_from(config_, *source);
    if (!resuming_) ssl::fit_batch(config_, layers_, source->size(), &notes);
    tell();
    if (!cache) return source;
    ImagesProgress progress("cache", config_.quiet);
    ssl::ImageSourcePtr kept = ssl::with_cache(config_, source, &notes, progress.callback());
    progress.finish();
    tell();
    return kept;
  }

  /// What to type after this.
  std::string next(const ssl::PretrainResult& result, bool labelled) const {
    const std::string run = shell_quoted(config_.out);
    if (result.step < result.steps)
      return "go on with: tacit pretrain " + config_.method + " --out " + run + " --resume";
    std::string data;
    for (const std::string& spec : config_.data) data += " --data " + shell_quoted(spec);
    return "next: tacit " + (labelled ? "evaluate " + run + data : "embed " + run + data + " --out features") +
           "; tacit report " + run;
  }

  int finish(const ssl::PretrainResult& result, bool labelled) {
    nlohmann::json figures = {{"step", result.step}, {"interrupted", result.reason == ssl::StopReason::Interrupted}};
    std::string loss;
    if (result.last.step > 0) {  // what the last line of progress showed
      figures["loss"] = result.last.mean_loss;
      figures["loss_steps"] = result.last.mean_steps;
      char text[80];
      std::snprintf(text, sizeof text, ", loss %.4f (the mean of the last ", result.last.mean_loss);
      loss = text + counted(result.last.mean_steps, "step") + ")";
    }
    for (const auto& metric : result.last.metrics) figures[metric.first] = metric.second;
    write_json(common_, figures);
    if (result.reason == ssl::StopReason::Interrupted) {
      say(common_, "interrupted: saved at step " + std::to_string(result.step) + "; " + next(result, labelled));
      return ssl::kInterruptedStatus;
    }
    const std::string whole = result.step == result.steps ? "" : std::to_string(result.step) + " of ";
    print_result(common_, config_.out + ": " + whole + counted(result.steps, "step") + loss);
    say(common_, next(result, labelled));
    return 0;
  }

  std::string method_;
  ssl::TrainConfig config_;
  ssl::ConfigLayers layers_;
  bool resuming_ = false;
};

}  // namespace

std::unique_ptr<Command> make_pretrain() { return std::make_unique<Pretrain>(); }

}  // namespace tacit::cli
