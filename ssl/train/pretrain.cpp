#include "ssl/train/pretrain.h"

#include <algorithm>
#include <limits>

#include "nn/norm.h"
#include "ssl/data/fingerprint.h"
#include "ssl/data/overlap.h"
#include "ssl/train/build.h"
#include "ssl/train/check.h"
#include "ssl/train/import.h"
#include "ssl/train/inspection.h"
#include "ssl/train/interrupt.h"
#include "ssl/train/memory.h"
#include "ssl/train/method_entry.h"
#include "ssl/train/online_evaluation.h"
#include "ssl/train/picture.h"
#include "ssl/train/run_directory.h"
#include "ssl/train/summary.h"
#include "ssl/train/watch.h"
#include "tensor/counted.h"
#include "tensor/precision.h"

namespace tacit::ssl {

namespace {

/// Images that --augment-on device keeps on the device for the whole run; more come batch by batch.
constexpr int64_t kMostResident = int64_t{4} << 30;

class Pretraining {
 public:
  Pretraining(const TrainConfig& config, ImageSourcePtr source, const PretrainObserver& observer)
      : config_(config), source_(std::move(source)), fingerprint_(data_fingerprint(*source_)), observer_(observer) {
    validate(config_);
    RunDirectory::check(config_.out, config_.resume);
    if (config_.resume) RunDirectory::check_resumable(config_.out);
    policies_ = views_of(config_);
    plan_schedule();
    memory_ = check_training_memory(
        config_,
        config_.eval_every > 0 ? std::min(source_->size(), OnlineEvaluation::kTrain) + OnlineEvaluation::kTest : 0);
    learns_from_test_ = learns_from_test(config_);
    if (config_.eval_every > 0) prepare_evaluation();
    inspection_ =
        std::make_unique<Inspection>(config_, source_, encoder_views(), method_views(config_, encoder_views()));
    method_ = make_method(config_);
    if (config_.cuda_graph) check_graph();
    optimizer_ = make_optimizer(config_, *method_);
    const bool fresh = !(config_.resume && RunDirectory::has_checkpoint(config_.out));
    if (fresh) {
      prepare_method();
      describe();
    }
    ContactSheet views = fresh ? first_look() : ContactSheet(0, 0, 1);
    directory_ = std::make_unique<RunDirectory>(config_.out, !config_.resume);
    if (fresh) {
      begin(views);
    } else {
      load();
      describe();
      observer_.say("resume      at step " + std::to_string(plan_.done) + " of " + std::to_string(plan_.steps));
      if (plan_.last <= plan_.done) explain_no_steps();
    }
    plan_.last = std::max(plan_.last, plan_.done);
  }

  PretrainResult run() {
    LoaderOptions loading = loader_options();
    loading.resident_bytes = std::min(kMostResident, memory_.left / 2);
    loader_ = std::make_unique<Loader>(source_, loading, plan_.done / plan_.steps_per_epoch,
                                       plan_.done % plan_.steps_per_epoch);
    Training training;
    watch_ = std::make_unique<RunWatch>(plan_.chance, plan_.steps_per_epoch);
    training.next = [&] {
      Batch batch = loader_->next();
      say_all(watch_->batch(batch));
      return batch;
    };
    training.loss = [&](const Batch& batch, const Progress& progress) { return method_->loss(batch.views, progress); };
    training.after_step = [&](const Progress& progress) { method_->after_step(progress); };
    training.metrics = [&] { return method_->metrics(); };
    training.lr = make_schedule(config_, plan_.steps);
    training.optimizer = optimizer_.get();
    training.done = plan_.done;
    training.last = plan_.last;
    training.steps = plan_.steps;
    training.steps_per_epoch = plan_.steps_per_epoch;
    training.clip = config_.clip;
    training.remedy = [&] { return remedy(); };
    training.on_step = [&](StepRecord& record) { on_step(record); };
    training.graph = config_.cuda_graph;
    training.late = !default_device().backend().host_accessible();
    training.needs_model = [&](const StepRecord& record) {
      return evaluates_at(record) || inspection_->due(record) || saves_at(record);
    };
    training.stop = interrupted;
    observer_.begin(plan_);

    PretrainResult result;
    try {
      result.reason = train(training);
    } catch (const DamageError& e) {  // no step was lost, and none has seen other images than it should
      if (last_.step > saved_) save(last_.step);
      throw DamageError(
          e.what() + ("; " + config_.out + " is saved at step " + std::to_string(saved_)) +
          ": --resume with a larger --max-damaged goes on there (with files removed, begin another --out)");
    }
    if (last_.step > saved_) save(last_.step);
    if (!loader_->damage().empty())
      observer_.say(damage_warning(loader_->damage(), *source_, "replaced by the next ones"));
    result.step = std::max(plan_.done, last_.step);
    result.steps = plan_.steps;
    result.last = last_;
    return result;
  }

 private:
  /// Refuses --cuda-graph where it cannot be, before anything else is done.
  void check_graph() const {
    TACIT_CHECK(default_device().backend().can_capture(), "--cuda-graph needs a GPU, and this run is on ",
                default_device().name(), "; leave it out");
    const std::string why = method_->why_not_captured();
    TACIT_CHECK(why.empty(), "--cuda-graph: a step of ", config_.method, " cannot be captured: ", why,
                "; leave it out");
  }

  LoaderOptions loader_options() const {
    LoaderOptions options;
    options.batch_size = config_.batch_size;
    options.image_size = config_.image_size;
    options.channels = config_.channels;
    options.views = policies_;
    options.max_damaged = config_.max_damaged;
    options.seed = static_cast<uint64_t>(config_.seed);
    options.known_damaged = damaged_;
    options.device_augmentation = config_.augment_on == "device";
    return options;
  }

  PlainViews encoder_views() const { return plain_views(config_, policies_[0].mean, policies_[0].std); }

  /// Shows the method its first batches; the loader is made only for one that looks.
  void prepare_method() {
    std::unique_ptr<Loader> loader;
    const auto next_views = [&] {
      if (!loader) loader = std::make_unique<Loader>(source_, loader_options());
      return loader->next().views;
    };
    method_->prepare(next_views, source_->size());
  }

  void plan_schedule() {
    if (const auto check_images = method_entry(config_.method).check_images) check_images(config_, *source_);
    TACIT_CHECK(source_->size() >= config_.batch_size, "--batch-size ", config_.batch_size, " is more than the data's ",
                counted(source_->size(), "image"), "; use at most that many");
    plan_.epochs = config_.epochs;
    plan_.steps_per_epoch = source_->size() / config_.batch_size;
    plan_.steps = plan_.last = plan_.epochs * plan_.steps_per_epoch;
    if (config_.steps) plan_.last = std::min(plan_.last, *config_.steps);
    if (config_.stop_after_epochs)
      plan_.last = std::min(plan_.last, std::min(*config_.stop_after_epochs, plan_.epochs) * plan_.steps_per_epoch);
  }

  void prepare_evaluation() {
    evaluation_ = std::make_unique<OnlineEvaluation>(config_, source_, encoder_views());
    if (!evaluation_->possible()) {
      evaluation_.reset();
      observer_.say("the data has no labels: --eval-every is ignored");
      return;
    }
    const std::string warning = learns_from_test_ ? "" : overlap_warning(*source_, evaluation_->test());
    if (!warning.empty()) observer_.say(warning);
  }

  void describe() {
    plan_.chance = method_->chance(config_.batch_size);
    say_all(summary(config_, *source_, *method_, *optimizer_, plan_, policies_, memory_.said));
    if (config_.bn_splits.value_or(0) > 1) {
      const int64_t groups = nn::split_groups(config_.batch_size, *config_.bn_splits);
      observer_.say("batch norm  over " + counted(groups, "group") + " of " +
                    counted(config_.batch_size / groups, "image"));
    }
    if (learns_from_test_)
      observer_.say("warning: --split " + config_.split +
                    ": the test images are learned from; what an evaluation says of them will be too good; --split "
                    "train leaves them out");
    const bool chunks = config_.chunk_size > 0;
    const std::string noise =
        batch_norm_warning(*method_, chunks ? config_.chunk_size : config_.batch_size, config_.bn_splits.value_or(0),
                           chunks ? "--chunk-size" : "--batch-size");
    if (!noise.empty()) observer_.say(noise);
    say_all(method_->describe(source_->size(), config_.batch_size));
  }

  /// What the files of a new run can be wrong about, found before its directory is made: a corrected command may then
  /// use the same --out. Gives the contact sheet of the views.
  ContactSheet first_look() {
    if (!config_.init.empty()) {
      const ImportReport report = load_initial_weights(*method_, config_);
      observer_.say("init        " + config_.init + ": " + report.names.text());
      for (const std::string& note : report.notes)
        observer_.say((note.rfind("warning:", 0) == 0 ? "" : "            ") + note);
    }
    return views_sheet(source_, loader_options(), shown_views(config_));
  }

  /// A new run: its first checkpoint is what a run that fails in its first epoch leaves.
  void begin(const ContactSheet& views) {
    directory_->write_config(settings_of(config_).toml());
    directory_->cut_to(-1);
    directory_->log_picture(0, "views", views);
    save(0);
  }

  void load() {
    const std::string path = directory_->checkpoint();
    const Checkpoint checkpoint = load_checkpoint(path);
    const std::string difference = first_difference(checkpoint.info.config, config_, false);
    if (!difference.empty())
      throw UsageError("--resume cannot change " + difference + " (the first is " + path + "'s)");
    TACIT_CHECK(checkpoint.info.images == source_->size(), "--data has ", counted(source_->size(), "image"),
                ", the run was started with ", checkpoint.info.images, "; a resume needs the same data");
    check(checkpoint.info.fingerprint.empty() || checkpoint.info.fingerprint == fingerprint_,
          "--resume: --data holds other images than those that the run began with, though as many; a resume needs the "
          "same data");
    nn::load_state(*method_, checkpoint.model);
    optimizer_->load_state(checkpoint.optimizer);
    plan_.done = saved_ = checkpoint.info.step;
    damaged_ = checkpoint.info.damaged;
    directory_->write_config(settings_of(config_).toml());
    directory_->cut_to(plan_.done);
  }

  /// Of a resume: which limit leaves nothing to do, and what goes on.
  void explain_no_steps() const {
    const std::string at = "is at step " + std::to_string(plan_.done) + " of " + std::to_string(plan_.steps);
    if (plan_.done >= plan_.steps) {
      observer_.say(config_.out + " " + at +
                    ": nothing is left to do. --epochs cannot be changed; a longer run is a new " +
                    "one, which may begin with --init " + directory_->checkpoint());
      return;
    }
    std::string reached, remedy;
    const auto add = [&](const char* flag, std::optional<int64_t> limit, int64_t in_steps, int64_t whole) {
      if (!limit || in_steps > plan_.done) return;
      reached += (reached.empty() ? " --" : " and --") + (flag + (" " + std::to_string(*limit)));
      remedy += std::string(" --") + flag + " " + std::to_string(whole);
    };
    add("steps", config_.steps, config_.steps.value_or(0), plan_.steps);
    add("stop-after-epochs", config_.stop_after_epochs,
        std::min(config_.stop_after_epochs.value_or(0), plan_.epochs) * plan_.steps_per_epoch, plan_.epochs);
    observer_.say("warning: nothing is done: " + config_.out + " " + at + ", the limit of" + reached + ", kept in " +
                  directory_->config() + "; to go on to the end, give --resume" + remedy +
                  ", which is then kept instead");
  }

  bool evaluates_at(const StepRecord& record) const {
    return evaluation_ && record.epoch_end && record.epoch % config_.eval_every == 0;
  }
  bool saves_at(const StepRecord& record) const {
    return (record.epoch_end && record.epoch % config_.save_every == 0) ||
           (config_.save_every_steps > 0 && record.step % config_.save_every_steps == 0);
  }

  void on_step(StepRecord& record) {
    record.metrics["chance_loss"] = plan_.chance.loss;
    if (plan_.chance.top1 > 0) record.metrics["chance_top1"] = plan_.chance.top1;
    const bool evaluated = evaluates_at(record);
    if (evaluated) evaluation_->add_to(record.metrics, method_->encoder());
    if (evaluated || record.step % config_.log_every == 0) directory_->log(record);
    if (inspection_->due(record)) inspection_->look(record.step, *method_, *optimizer_, *directory_);
    last_ = record;
    if (saves_at(record) || (record.current && interrupted())) save(record.step);
    observer_.step(record);
    say_all(watch_->step(record));
  }

  void say_all(const std::vector<std::string>& lines) const {
    for (const std::string& line : lines) observer_.say(line);
  }

  void save(int64_t step) {
    Checkpoint checkpoint;
    checkpoint.info.config = config_;
    checkpoint.info.step = step;
    checkpoint.info.steps_per_epoch = plan_.steps_per_epoch;
    checkpoint.info.images = source_->size();
    checkpoint.info.fingerprint = fingerprint_;
    if (loader_)
      for (const auto& damaged : loader_->damage()) checkpoint.info.damaged.push_back(damaged.first);
    checkpoint.info.mean = policies_[0].mean;
    checkpoint.info.std = policies_[0].std;
    checkpoint.model = nn::state_dict(*method_);
    checkpoint.optimizer = optimizer_->state();
    directory_->sync();
    save_checkpoint(directory_->checkpoint(), checkpoint);
    saved_ = step;
    saved_loss_ = step > 0 && last_.step == step ? last_.loss : std::numeric_limits<double>::infinity();
  }

  /// What can be done about a loss that is not finite; a resume could only repeat it.
  std::string remedy() const {
    std::string text = config_.out + " keeps its checkpoint of step " + std::to_string(saved_) +
                       ", but --resume keeps the learning rate too: begin another --out with a smaller --lr, a longer "
                       "warm-up or --clip 1";
    if (saved_loss_ < plan_.chance.loss)  // worth keeping
      text += "; --init " + directory_->checkpoint() + " starts it from that checkpoint's encoder";
    return text;
  }

  TrainConfig config_;
  ImageSourcePtr source_;
  std::string fingerprint_;
  const PretrainObserver& observer_;
  RunPlan plan_;
  MemoryFound memory_;             // what the run needs, and may have
  bool learns_from_test_ = false;  // which takes a look at the data
  std::vector<ViewPolicy> policies_;
  std::unique_ptr<OnlineEvaluation> evaluation_;
  std::unique_ptr<Inspection> inspection_;
  std::unique_ptr<RunWatch> watch_;
  std::unique_ptr<Method> method_;
  std::unique_ptr<optim::Optimizer> optimizer_;
  std::unique_ptr<RunDirectory> directory_;
  std::unique_ptr<Loader> loader_;
  std::vector<int64_t> damaged_;  // images met before this process that could not be read
  StepRecord last_;
  int64_t saved_ = -1;
  double saved_loss_ = std::numeric_limits<double>::infinity();  // of the step that was saved, if by this process
};

}  // namespace

PretrainResult pretrain(const TrainConfig& config, const ImageSourcePtr& source, const PretrainObserver& observer) {
  const InterruptScope scope;
  const PrecisionScope precision(precision_named(config.precision));
  return Pretraining(config, source, observer).run();
}

}  // namespace tacit::ssl
