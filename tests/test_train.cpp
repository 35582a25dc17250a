// ssl/train: event files, run directories, checkpoints, the loop, fine-tuning, pictures.
#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>

#include "autograd/ops.h"
#include "process.h"
#include "ssl/data/augment.h"
#include "ssl/train/append.h"
#include "ssl/train/build.h"
#include "ssl/train/checkpoint.h"
#include "ssl/train/finetune.h"
#include "ssl/train/picture.h"
#include "ssl/train/resolve.h"
#include "ssl/train/run_directory.h"
#include "ssl/train/scatter.h"
#include "ssl/train/tfevents.h"
#include "tensor/directory.h"
#include "tensor/safetensors.h"
#include "train.h"

namespace {

using namespace tacit;
using namespace tacit::ssl;
using testing::contains;
using testing::error_of;
using testing::TemporaryDirectory;
using testing::tiny_config;
using testing::usage_error;

}  // namespace

TEST_CASE("event files: CRC-32C, records that read back, cut at a step, half-written tails") {
  CHECK(masked_crc32c("123456789") == ((0xE3069283u >> 15 | 0xE3069283u << 17) + 0xa282ead8u));
  const TemporaryDirectory dir;
  std::string path;
  {
    EventFile events(dir / ".");
    for (int64_t step = 1; step <= 200; ++step)
      events.add(step, {{"loss", 1.0 / static_cast<double>(step)}, {"lr", 0.5}});
    path = events.path();
  }
  std::vector<EventValue> read = read_events(path);
  REQUIRE(read.size() == 400);
  CHECK(read[398].step == 200);
  CHECK(read[398].tag == "loss");
  CHECK(read[398].value == doctest::Approx(0.005));
  CHECK(read[399].tag == "lr");

  append_to_file(path, "\x11garbage of a killed process");
  cut_events(dir / ".", 150);
  read = read_events(path);
  REQUIRE(read.size() == 300);
  CHECK(read.back().step == 150);
  EventFile again(dir / ".");
  CHECK(again.path() == path);
  again.add(151, {{"loss", 0}});
  CHECK(read_events(path).size() == 301);
}

TEST_CASE("run directory: refuses what exists, cuts metrics back, survives a half-written line") {
  const TemporaryDirectory dir;
  testing::write_file(dir / "file", "x");
  CHECK(contains(error_of([&] { RunDirectory::check(dir / "file", false); }), "is a file"));
  CHECK(contains(error_of([&] { RunDirectory(dir / "file/run"); }), "cannot make the directory"));
  std::filesystem::create_directory(dir / "empty");
  CHECK_NOTHROW(RunDirectory::check(dir / "empty", false));

  {
    RunDirectory run(dir / "run");
    run.write_config("x = 1\n");
    CHECK(contains(error_of([&] { RunDirectory(dir / "run"); }), "another process"));
    run.cut_to(0);
    StepRecord record;
    for (record.step = 1; record.step <= 5; ++record.step) run.log(record);
  }
  CHECK(contains(usage_error([&] { RunDirectory::check(dir / "run", false); }), "--resume"));
  // Begun by another process since the first check: found again under the lock.
  CHECK(contains(usage_error([&] { RunDirectory(dir / "run", true); }), "exists already"));
  CHECK(testing::read_file(dir / "run/config.toml") == "x = 1\n");
  CHECK_NOTHROW(RunDirectory::check(dir / "run", true));
  append_to_file(dir / "run/metrics.jsonl", "{\"step\":6,\"ep");
  RunDirectory run(dir / "run");
  run.cut_to(3);
  const std::string text = testing::read_file(run.metrics());
  CHECK(contains(text, "\"step\":3"));
  CHECK_FALSE(contains(text, "\"step\":4"));
  CHECK(text.back() == '\n');
}

TEST_CASE("directories: made with their parents; a check tells what would fail and makes nothing") {
  const TemporaryDirectory dir;
  const std::string file = dir / "file", deep = dir / "a/b/c";
  testing::write_file(file, "x");
  CHECK_NOTHROW(check_directory(deep));
  CHECK_NOTHROW(check_directory(dir / "."));
  CHECK_NOTHROW(check_directory("relative/directory"));
  for (const std::string& wrong : {file, file + "/x/y", std::string("/proc/none/x")}) {
    CAPTURE(wrong);
    CHECK(contains(error_of([&] { check_directory(wrong); }), wrong));
    CHECK(contains(error_of([&] { make_directories(wrong); }), wrong));
  }
  CHECK(std::distance(std::filesystem::directory_iterator(dir / "."), {}) == 1);
  CHECK(with_directory(deep + "/x.png") == deep + "/x.png");
  CHECK(std::filesystem::is_directory(deep));
  CHECK_FALSE(std::filesystem::exists(deep + "/x.png"));
  CHECK(with_directory("x.png") == "x.png");
}

TEST_CASE("metrics line: deterministic fields first, in a fixed order") {
  StepRecord record;
  record.step = 3;
  record.epoch = 1;
  record.loss = 0.5;
  record.lr = 0.25;
  record.seconds = 2;
  record.waited = 0.5;
  record.images = 8;
  record.metrics = {{"feature_std", 1}, {"knn_top1", 0.75}};
  CHECK(
      metrics_line(record) ==
      R"({"step":3,"epoch":1,"loss":0.5,"lr":0.25,"images_per_second":4.0,"feature_std":1.0,"knn_top1":0.75,"loader_wait":0.25})");
}

TEST_CASE("checkpoint: reads back; newer, foreign and broken files are clear errors") {
  const TemporaryDirectory dir;
  const std::string path = dir / "last.safetensors";
  const TrainConfig config = tiny_config();
  const std::unique_ptr<Method> method = make_method(config);
  const std::unique_ptr<optim::Optimizer> optimizer = make_optimizer(config, *method);
  Checkpoint saved;
  saved.info.config = config;
  saved.info.step = 11;
  saved.info.steps_per_epoch = 4;
  saved.info.images = 64;
  saved.info.damaged = {3, 40};
  saved.info.mean = {0.1f, 0.2f, 0.3f};
  saved.info.std = {1, 1, 1};
  saved.model = nn::state_dict(*method);
  saved.optimizer = optimizer->state();
  save_checkpoint(path, saved);
  const Checkpoint read = load_checkpoint(path);
  CHECK(read.info.step == 11);
  CHECK(read.info.epoch() == 2);
  CHECK(read.info.position() == 3);
  CHECK(read.info.mean == saved.info.mean);
  CHECK(read.info.damaged == saved.info.damaged);
  CHECK(read.info.config.data.empty());  // no paths
  CHECK(first_difference(read.info.config, config, false).empty());
  CHECK(read.model.size() == saved.model.size());
  CHECK(read.optimizer.size() == saved.optimizer.size());
  const Pretrained loaded = load_pretrained(path);
  CHECK(loaded.views.image_size == 16);

  std::string bytes = testing::read_file(path);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 4);
  testing::write_file(dir / "flipped.safetensors", bytes);
  const std::string flipped = error_of([&] { load_pretrained(dir / "flipped.safetensors"); });
  CHECK(contains(flipped, "flipped.safetensors: its data is damaged"));
  SafeTensors file = read_safetensors(path);
  file.metadata.erase(kDataChecksum);  // as written before there was one
  write_safetensors(dir / "old.safetensors", file);
  CHECK(load_checkpoint(dir / "old.safetensors").info.step == 11);
  file.metadata["tacit_checkpoint_format"] = std::to_string(kCheckpointFormat + 1);
  write_safetensors(dir / "newer.safetensors", file);
  const std::string newer = error_of([&] { load_checkpoint(dir / "newer.safetensors"); });
  CHECK(contains(newer, "format " + std::to_string(kCheckpointFormat + 1)));
  CHECK(contains(newer, "up to format " + std::to_string(kCheckpointFormat)));
  // A method or a setting that this version lacks is the file's fault, not a flag's.
  file = read_safetensors(path);
  std::string& config_text = file.metadata["config"];
  config_text.replace(config_text.find("simclr"), 6, "simsam");
  write_safetensors(dir / "method.safetensors", file);
  const auto load_unknown = [&] { load_pretrained(dir / "method.safetensors"); };
  CHECK(usage_error([&] {
          try {
            load_unknown();
          } catch (const UsageError&) {
            throw;
          } catch (const Error&) {
          }
        }) == "");
  CHECK(contains(error_of(load_unknown), "method.safetensors"));
  CHECK(contains(error_of(load_unknown), "simsam"));
  file = read_safetensors(path);
  for (const char* damaged : {"7", "[64]", "[-1]", "[18446744073709551615]", "[1.5]", "["}) {
    CAPTURE(damaged);
    file.metadata["damaged"] = damaged;
    write_safetensors(dir / "damaged.safetensors", file);
    CHECK(contains(error_of([&] { load_checkpoint(dir / "damaged.safetensors"); }), "'damaged'"));
  }
  file.metadata.clear();
  write_safetensors(dir / "foreign.safetensors", file);
  CHECK(contains(error_of([&] { load_checkpoint(dir / "foreign.safetensors"); }), "not a tacit checkpoint"));
  testing::write_file(dir / "half.safetensors", testing::read_file(path).substr(0, 3000));
  CHECK(contains(error_of([&] { load_checkpoint(dir / "half.safetensors"); }), "half.safetensors"));
  CHECK(contains(error_of([&] { checkpoint_path(dir / "nothing"); }), "nothing"));
  CHECK(contains(error_of([&] { checkpoint_path(dir / "."); }), "no checkpoint"));

  // Weights that are not finite never replace a good file.
  saved.model.begin()->second = Tensor::full({2}, NAN);
  CHECK(contains(error_of([&] { save_checkpoint(path, saved); }), "not saving"));
  CHECK(load_checkpoint(path).info.step == 11);
}

TEST_CASE("trainer: steps, epochs and rates are counted from where the run stands; NaN stops before the weights") {
  const TrainConfig config = tiny_config();
  const std::unique_ptr<Method> method = make_method(config);
  const std::unique_ptr<optim::Optimizer> optimizer = make_optimizer(config, *method);
  Training training;
  int64_t batches = 0, after = 0;
  training.next = [&] {
    ++batches;
    Batch batch;
    batch.views = {Tensor::uniform({4, 16, 16, 3}, 1, static_cast<uint64_t>(batches)),
                   Tensor::uniform({4, 16, 16, 3}, 2, static_cast<uint64_t>(batches))};
    batch.indices = {0, 1, 2, 3};
    return batch;
  };
  bool poison = false;
  training.loss = [&](const Batch& batch, const Progress& progress) {
    const Variable loss = method->loss(batch.views, progress);
    return poison ? mul(loss, Variable(Tensor::full({}, -NAN))) : loss;
  };
  training.after_step = [&](const Progress& progress) { after = progress.step; };
  training.lr = [](int64_t step) { return 1e-3 * static_cast<double>(step); };
  training.optimizer = optimizer.get();
  training.done = 5;
  training.last = 9;
  training.steps = 12;
  training.steps_per_epoch = 3;
  std::vector<StepRecord> records;
  training.on_step = [&](StepRecord& record) { records.push_back(record); };
  CHECK(train(training) == StopReason::Finished);
  REQUIRE(records.size() == 4);
  CHECK(records[0].step == 6);
  CHECK(records[0].epoch == 2);
  CHECK(records[0].epoch_end);
  CHECK(records[0].lr == doctest::Approx(5e-3));
  CHECK(records[0].images == 4);
  CHECK(records[3].epoch == 3);
  // The mean over the epoch: steps 7, 8 and 9 are the third; of the second only step 6 is of this process.
  CHECK(records[0].mean_loss == records[0].loss);
  CHECK(records[3].mean_loss == doctest::Approx((records[1].loss + records[2].loss + records[3].loss) / 3));
  CHECK(records[3].mean_steps == 3);
  CHECK(after == 8);

  training.done = 9;
  training.stop = [] { return true; };
  training.last = 12;
  CHECK(train(training) == StopReason::Interrupted);
  CHECK(records.back().step == 10);

  poison = true;
  const std::vector<float> before = nn::state_dict(*method).begin()->second.to_vector<float>();
  CHECK(contains(error_of([&] { train(training); }), "the loss is nan at step 10"));  // and not -nan
  CHECK(nn::state_dict(*method).begin()->second.to_vector<float>() == before);

  // Late: the same figures, read when the next step has begun, but where the model is looked at.
  poison = false;
  training.stop = {};
  training.late = true;
  training.needs_model = [](const StepRecord& record) { return record.step == 11; };
  training.done = 9;
  training.last = 12;
  std::vector<std::pair<int64_t, int64_t>> seen;  // the step reported, the steps made by then
  training.on_step = [&](StepRecord& record) {
    seen.push_back({record.step, after + 1});
    CHECK(record.current == (record.step == after + 1));
    CHECK(record.mean_steps == record.step - 9);
    CHECK(record.metrics.empty());
  };
  CHECK(train(training) == StopReason::Finished);
  CHECK(seen == std::vector<std::pair<int64_t, int64_t>>{{10, 11}, {11, 11}, {12, 12}});
  // What was made is reported before the error of a batch that cannot be read.
  seen.clear();
  const auto next = training.next;
  training.next = [&] {
    if (after + 1 == 11) throw Error("no more");
    return next();
  };
  training.needs_model = {};
  after = 8;
  CHECK(contains(error_of([&] { train(training); }), "no more"));
  CHECK(seen == std::vector<std::pair<int64_t, int64_t>>{{10, 11}, {11, 11}});
  training.next = next;
  poison = true;
  seen.clear();
  CHECK(contains(error_of([&] { train(training); }), "the loss is nan at step 10"));
  CHECK(seen.empty());
}

TEST_CASE("fine-tuning learns labels, whatever the number of images") {
  CHECK(finetune_batch_size(3) == 3);
  CHECK(finetune_batch_size(100) == 50);
  CHECK(finetune_batch_size(60000) == 128);
  const ImageSourcePtr train = open_data({"synthetic:200"}, Split::Train),
                       test = open_data({"synthetic:200"}, Split::Test);
  nn::EncoderOptions encoder;
  encoder.name = "small_cnn";
  encoder.width = 8;
  encoder.image_size = 16;
  PlainViews views;
  views.normalisation = augmentation("none", 16, 3)[0];
  views.image_size = 16;
  FinetuneOptions options;
  options.epochs = 1;
  options.min_steps = 60;
  int64_t steps = 0;
  FinetuneObserver observer;
  observer.step = [&](const StepRecord&) { ++steps; };
  const FinetuneResult result = finetune(nn::make_encoder(encoder), train, test, views, options, observer);
  CHECK(steps == 60);
  CHECK(result.predictions.size() == static_cast<size_t>(test->size()));
  CHECK(result.top1 > 0.5);
}

TEST_CASE("pictures: a contact sheet and neighbours are PNG files") {
  const TemporaryDirectory dir;
  const ImageSourcePtr source = open_data({"synthetic:50"}, Split::All);
  LoaderOptions options;
  options.image_size = 16;
  options.views = augmentation("simclr", 16, 3);
  views_sheet(source, options, {}, 4, 6).write_png(dir / "views.png");
  neighbours_sheet(*source, {0, 1}, *source, {{2, 3, 4}, {5}}, 16).write_png(dir / "near.png");
  write_scatter_png(dir / "points.png", {.points = Tensor::normal({50, 2}, 1, 2),
                                         .labels = labels_of(*source),
                                         .class_names = source->class_names(),
                                         .title = "fünfzig",
                                         .x_axis = "x",
                                         .y_axis = "y"});
  CHECK_THROWS_AS(
      write_scatter_png(
          dir / "x.png",
          {.points = Tensor::zeros({3, 2}), .labels = {1}, .class_names = {}, .title = "", .x_axis = "", .y_axis = ""}),
      Error);
  for (const char* name : {"views.png", "near.png", "points.png"}) {
    const std::string bytes = testing::read_file(dir / name);
    CHECK(bytes.substr(0, 4) == "\x89PNG");
    CHECK(bytes.size() > 300);
  }
}
