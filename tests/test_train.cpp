// ssl/train: settings, recipes, event files, run directories, the loop, memory.
#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>

#include "autograd/ops.h"
#include "process.h"
#include "ssl/data/augment.h"
#include "ssl/train/append.h"
#include "ssl/train/build.h"
#include "ssl/train/finetune.h"
#include "ssl/train/memory.h"
#include "ssl/train/method_entry.h"
#include "ssl/train/picture.h"
#include "ssl/train/resolve.h"
#include "ssl/train/run_directory.h"
#include "ssl/train/scatter.h"
#include "tensor/memory_limit.h"
#include "tensor/safetensors.h"

namespace {

using namespace tacit;
using namespace tacit::ssl;
using testing::contains;
using testing::TemporaryDirectory;

template <class F>
std::string usage_error(F&& f) {
  try {
    f();
  } catch (const UsageError& e) {
    return e.what();
  }
  return "";
}
template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

/// The smallest model that trains: for checkpoints and the loop.
TrainConfig tiny_config() {
  TrainConfig c;
  apply_recipe(c, "small-images");
  c.data = {"synthetic:64"};
  c.split = "all";
  c.image_size = 16;
  c.channels = 3;
  c.encoder_width = 4;
  c.projector = {8, 4};
  c.batch_size = 8;
  c.epochs = 1;
  return c;
}

}  // namespace

TEST_CASE("settings: every value survives TOML, with awkward strings and numbers") {
  TrainConfig a;
  apply_recipe(a, "fashion-mnist-demo");
  a.data = {"folder:/tmp/it's \"here\" \\ # x", "synthetic:10", "ümläut\ttab"};
  a.temperature = 0.1 + 0.2;
  a.weight_decay = 1e-300;
  a.lr = 3;
  a.steps = 7;
  const std::string text = settings_of(a).toml();
  TrainConfig b;
  settings_of(b).apply_toml(text, "x.toml");
  CHECK(settings_of(b).toml() == text);
  CHECK(b.data == a.data);
  CHECK(b.temperature == a.temperature);
  CHECK(*b.lr == 3.0);
  CHECK(*b.steps == 7);
  CHECK(first_difference(a, b, true).empty());
}

TEST_CASE("settings: wrong TOML names the file, the line and the key") {
  TrainConfig c;
  const auto message = [&](const std::string& text) {
    return usage_error([&] { settings_of(c).apply_toml(text, "my.toml"); });
  };
  CHECK(contains(message("epochs = 3\nbatchsize = 4\n"), "my.toml, line 2: unknown key 'batchsize'"));
  CHECK(contains(message("epochs = 'three'\n"), "'epochs' expects a whole number"));
  CHECK(contains(message("epochs = 2.5\n"), "'epochs' expects a whole number"));
  CHECK(contains(message("\n\nlr = = 3\n"), "my.toml, line 3"));
  CHECK(contains(message("epochs = 3\nepochs = 4\n"), "my.toml"));
  CHECK(contains(message("[data]\nkind = 'x'\n"), "data"));
  CHECK(contains(message("lr = 1.0\nbase-lr = 1.0\n"), "contradict"));
  CHECK(contains(message("temperature = inf\n"), "finite"));
}

TEST_CASE("settings: wrong flags name the flag and the value") {
  TrainConfig c;
  const auto message = [&](const Settings::Given& given) { return usage_error([&] { settings_of(c).apply(given); }); };
  CHECK(contains(message({{"epochs", {"1.5"}}}), "--epochs expects a whole number, got '1.5'"));
  CHECK(contains(message({{"epochs", {""}}}), "--epochs"));
  CHECK(contains(message({{"lr", {"nan"}}}), "finite"));
  CHECK(contains(message({{"lr", {"0.1x"}}}), "'0.1x'"));
  CHECK(contains(message({{"lr", {"1"}}, {"base-lr", {"1"}}}), "contradict"));
  CHECK(contains(message({{"nonsense", {"1"}}}), "unknown flag --nonsense"));
  CHECK(contains(message({{"epochs", {"1", "2"}}}), "given 2 times"));
  CHECK(message({{"projector", {"64,0", "32"}}}).empty());
  CHECK(c.projector == std::vector<int64_t>{64, 0, 32});
}

TEST_CASE("resolve: default < recipe < configuration file < command line") {
  ConfigLayers layers;
  layers.toml = "epochs = 5\nbatch-size = 32\n";
  layers.toml_file = "x.toml";
  layers.flags = {{"data", {"synthetic"}}, {"recipe", {"fashion-mnist-demo"}}, {"epochs", {"6"}}};
  const TrainConfig c = resolve(layers, 0);
  CHECK(c.temperature == 0.1);  // recipe
  CHECK(c.batch_size == 32);    // file over recipe
  CHECK(c.epochs == 6);         // command line over file
  CHECK(c.optimizer == "adamw");
  CHECK(c.warmup_steps(3276) == 328);
  layers.flags.push_back({"base-lr", {"0.5"}});
  CHECK(resolve(layers, 0).effective_lr() == doctest::Approx(0.5 * 32 / 256));  // replaces the recipe's lr
  layers.flags.back() = {"warmup-epochs", {"1.5"}};
  CHECK(resolve(layers, 0).warmup_steps(600) == 150);
}

TEST_CASE("resolve: without a recipe the image size chooses") {
  ConfigLayers layers;
  layers.flags = {{"data", {"synthetic"}}};
  CHECK(resolve(layers, 32).recipe == "small-images");
  CHECK(resolve(layers, 224).recipe == "folder");
  CHECK(resolve(layers, 0).recipe == "folder");
  layers.flags.push_back({"image-size", {"48"}});
  CHECK(resolve(layers, 224).recipe == "small-images");
}

TEST_CASE("validate: values that flags alone show to be wrong") {
  const auto message = [](const Settings::Given& more) {
    ConfigLayers layers;
    layers.flags = {{"data", {"synthetic"}}};
    layers.flags.insert(layers.flags.end(), more.begin(), more.end());
    return usage_error([&] { resolve(layers, 32); });
  };
  CHECK(message({}).empty());
  CHECK(contains(message({{"batch-size", {"1"}}}), "--batch-size 1"));
  CHECK(contains(message({{"batch-size", {"0"}}}), "--batch-size"));
  CHECK(contains(message({{"encoder", {"resnet19"}}}), "resnet18"));
  CHECK(contains(message({{"precision", {"bf16"}}}), "not in this build"));
  CHECK(contains(message({{"precision", {"fp31"}}}), "fp32"));
  CHECK(contains(message({{"method", {"simclear"}}}), "unknown method 'simclear'; there are: simclr, moco"));
  CHECK(contains(message({{"queue-size", {"64"}}}), "--queue-size is of moco; simclr has no such setting"));
  CHECK(contains(message({{"recipe", {"best"}}}), "fashion-mnist-demo"));
  CHECK(contains(message({{"temperature", {"0"}}}), "--temperature"));
  CHECK(contains(message({{"split", {"dev"}}}), "--split"));
  CHECK(contains(message({{"lr", {"-1"}}}), "negative"));
  CHECK(contains(message({{"epochs", {"0"}}}), "--epochs"));
  CHECK(contains(message({{"log-every", {"0"}}}), "--log-every"));
  CHECK(contains(message({{"seed", {"-1"}}}), "--seed"));
  CHECK(contains(message({{"image-size", {"3"}}}), "--image-size"));
  CHECK(contains(message({{"chunk-size", {"100"}}}), "--chunk-size 100 does not divide --batch-size 256"));
  CHECK(contains(message({{"method", {"moco"}}, {"batch-size", {"8"}}, {"bn-splits", {"8"}}}), "groups of one image"));
}

TEST_CASE("every recipe is valid and documented") {
  for (const MethodEntry& method : method_entries())
    for (const Recipe& recipe : method.recipes) {
      CAPTURE(method.name);
      CAPTURE(recipe.name);
      TrainConfig c;
      c.method = method.name;
      apply_recipe(c, recipe.name);
      c.data = {"synthetic"};
      CHECK_NOTHROW(validate(c));
      CHECK_FALSE(std::string(recipe.summary).empty());
    }
}

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
  std::vector<EventScalar> read = read_events(path);
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
  CHECK(contains(error_of([&] { RunDirectory(dir / "file/run", ""); }), "cannot make the directory"));
  std::filesystem::create_directory(dir / "empty");
  CHECK_NOTHROW(RunDirectory::check(dir / "empty", false));

  {
    RunDirectory run(dir / "run", "x = 1\n");
    CHECK(contains(error_of([&] { RunDirectory(dir / "run", ""); }), "another process"));
    run.cut_to(0);
    StepRecord record;
    for (record.step = 1; record.step <= 5; ++record.step) run.log(record);
  }
  CHECK(contains(usage_error([&] { RunDirectory::check(dir / "run", false); }), "--resume"));
  // Begun by another process since the first check: found again under the lock.
  CHECK(contains(usage_error([&] { RunDirectory(dir / "run", "y = 2\n", true); }), "exists already"));
  CHECK(testing::read_file(dir / "run/config.toml") == "x = 1\n");
  CHECK_NOTHROW(RunDirectory::check(dir / "run", true));
  append_to_file(dir / "run/metrics.jsonl", "{\"step\":6,\"ep");
  RunDirectory run(dir / "run", "x = 1\n");
  run.cut_to(3);
  const std::string text = testing::read_file(run.metrics());
  CHECK(contains(text, "\"step\":3"));
  CHECK_FALSE(contains(text, "\"step\":4"));
  CHECK(text.back() == '\n');
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

TEST_CASE("memory: sizes as people write them, and a limit that is refused with advice") {
  CHECK(parse_bytes("1000") == 1000);
  CHECK(parse_bytes("2K") == 2048);
  CHECK(parse_bytes("1.5G") == 1610612736);
  CHECK(parse_bytes("6gb") == (int64_t{6} << 30));
  for (const char* bad : {"", "G", "6X", "-1G", "six", "1e99G"}) {
    CAPTURE(bad);
    CHECK(contains(usage_error([&] { parse_bytes(bad); }), "--memory-limit"));
  }
  CHECK(memory_limit("").bytes > 0);
  TrainConfig c = tiny_config();
  const int64_t small = estimate_training_memory(c);
  c.batch_size = 4096;
  const int64_t large = estimate_training_memory(c);
  CHECK(large > 100 * small);
  CHECK(estimate_training_memory(c, 10'000'000) > large);  // an evaluation may need more than a step
  c.memory_limit = std::to_string(large * 2 / 3);
  const std::string message = error_of([&] { check_training_memory(c); });
  CHECK(contains(message, "--memory-limit"));
  CHECK(contains(message, "--batch-size"));
  c.chunk_size = 64;
  CHECK(estimate_training_memory(c) < large * 2 / 3);
  CHECK_NOTHROW(check_training_memory(c));
  c.chunk_size = 2048;
  CHECK(contains(error_of([&] { check_training_memory(c); }), "--chunk-size"));
}

TEST_CASE("memory: the estimate is near what whole steps take, for every method and for large batches") {
  CachingAllocator& allocator = default_device().allocator();
  const auto check_estimate = [&](TrainConfig c) {
    validate(c);
    const int64_t estimate = estimate_training_memory(c), before = allocator.statistics().live_bytes;
    allocator.reset_peak();
    {
      const std::unique_ptr<Method> method = make_method(c);
      const std::unique_ptr<optim::Optimizer> optimizer = make_optimizer(c, *method);
      std::vector<std::vector<Tensor>> batches(3);  // the one in use and two that the loader has prepared
      for (std::vector<Tensor>& views : batches)
        for (size_t v = 0; v < views_of(c).size(); ++v)
          views.push_back(Tensor::uniform({c.batch_size, c.image_size, c.image_size, c.channels}, 1, v));
      for (int64_t step = 0; step < 2; ++step) {
        const Variable loss = method->loss(batches[0], {step, 2});
        optimizer->zero_grad();
        loss.backward();
        optimizer->step();
        method->after_step({step, 2});
      }
    }
    const double ratio =
        static_cast<double>(estimate) / static_cast<double>(allocator.statistics().peak_bytes - before);
    CAPTURE(c.method);
    CAPTURE(c.batch_size);
    CHECK(ratio > 0.95);
    CHECK(ratio < 1.6);
  };
  for (const MethodEntry& method : method_entries()) {
    TrainConfig c;
    c.method = method.name;
    apply_recipe(c, "small-images");
    c.data = {"synthetic"};
    if (c.image_size == 0) c.image_size = 32;
    c.channels = 3;
    c.batch_size = 64;
    check_estimate(c);
  }
  TrainConfig wide = tiny_config();  // the similarities of all views are most of it
  wide.image_size = 8;
  wide.batch_size = 2048;
  check_estimate(wide);
  wide.chunk_size = 256;
  check_estimate(wide);
  wide.chunk_size = 0;
  wide.image_size = 64;  // few images are measured
  wide.batch_size = 24;
  check_estimate(wide);
}

TEST_CASE("memory: the check itself stays below the limit, and leaves nothing reserved") {
  TrainConfig c = tiny_config();
  c.encoder = "resnet50";
  c.encoder_width = 256;  // 380 million parameters
  c.memory_limit = "100M";
  CachingAllocator& allocator = default_device().allocator();
  allocator.trim();
  allocator.reset_peak();
  const int64_t before = reserved_memory();
  const std::string message = error_of([&] { check_training_memory(c); });
  CHECK(contains(message, "more than 100 MB"));
  CHECK(contains(message, "--encoder-width"));
  CHECK(allocator.statistics().peak_bytes - before <= int64_t{100} << 20);
  CHECK(reserved_memory() <= before);

  c = tiny_config();
  const std::unique_ptr<Method> method = make_method(c);
  const PlainViews views{{}, 512, 3, 0};
  CHECK_NOTHROW(check_features_memory(method->encoder(), views, 1000, "1G"));
  CHECK(contains(error_of([&] { check_features_memory(method->encoder(), views, 1000, "10M"); }), "--memory-limit"));
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

  SafeTensors file = read_safetensors(path);
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
  for (const char* damaged : {"7", "[64]", "[-1]", "[1.5]", "["}) {
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
    return poison ? mul(loss, Variable(Tensor::full({}, NAN))) : loss;
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
  CHECK(after == 8);

  training.done = 9;
  training.stop = [] { return true; };
  training.last = 12;
  CHECK(train(training) == StopReason::Interrupted);
  CHECK(records.back().step == 10);

  poison = true;
  const std::vector<float> before = nn::state_dict(*method).begin()->second.to_vector<float>();
  CHECK(contains(error_of([&] { train(training); }), "step 10"));
  CHECK(nn::state_dict(*method).begin()->second.to_vector<float>() == before);
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
  views_sheet(source, options, 4, 6).write_png(dir / "views.png");
  write_neighbours_png(dir / "near.png", *source, {0, 1}, *source, {{2, 3, 4}, {5}}, 16);
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
