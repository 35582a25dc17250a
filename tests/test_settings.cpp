// ssl/train: settings from flags and TOML, their checks, recipes, and in what order they apply.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <sstream>

#include "process.h"
#include "ssl/train/method_entry.h"
#include "ssl/train/resolve.h"
#include "train.h"

namespace {

using namespace tacit;
using namespace tacit::ssl;
using testing::contains;
using testing::usage_error;

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

TEST_CASE("resolve: without a recipe the images' own size chooses") {
  ConfigLayers layers;
  layers.flags = {{"data", {"synthetic"}}};
  CHECK(resolve(layers, 32).recipe == "small-images");
  CHECK(resolve(layers, 224).recipe == "folder");
  CHECK(resolve(layers, 0).recipe == "folder");
  layers.flags.push_back({"image-size", {"64"}});  // which `folder` has too: saying it changes nothing
  CHECK(resolve(layers, 0).recipe == "folder");
  CHECK(resolve(layers, 224).recipe == "folder");
  CHECK(resolve(layers, 32).recipe == "small-images");
  layers.flags.back() = {"image-size", {"96"}};
  CHECK(resolve(layers, 32).recipe == "folder");
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
  CHECK(contains(message({{"precision", {"bf16"}}, {"device", {"reference"}}}), "needs a GPU"));
  CHECK(contains(message({{"augment-on", {"gpu"}}}), "cpu, device"));
  CHECK(contains(message({{"precision", {"tf32"}}, {"device", {"cpu"}}}), "needs a GPU"));
  CHECK(message({{"precision", {"tf32"}}, {"device", {"cuda:1"}}}).empty());
  CHECK(contains(message({{"precision", {"fp31"}}}), "fp32"));
  CHECK(contains(message({{"cuda-graph", {"true"}}, {"device", {"cpu"}}}), "--cuda-graph needs a GPU"));
  CHECK(message({{"cuda-graph", {"true"}}, {"device", {"cuda"}}}).empty());
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
  CHECK(contains(message({{"encoder", {"vit_micro"}}, {"encoder-width", {"10"}}}), "--encoder-width"));
  CHECK(contains(message({{"encoder", {"vit_micro"}}, {"encoder-width", {"100"}}}), "multiple of 32"));
  CHECK(message({{"encoder", {"vit_micro"}}, {"encoder-width", {"12"}}}).empty());
  CHECK(message({{"encoder", {"resnet18"}}, {"encoder-width", {"10"}}}).empty());
  CHECK(contains(message({{"chunk-size", {"100"}}}), "--chunk-size 100 does not divide --batch-size 256"));
  CHECK(contains(message({{"method", {"moco"}}, {"batch-size", {"8"}}, {"bn-splits", {"8"}}}), "groups of one image"));
}

TEST_CASE("numbers in messages: the shortest text that reads back, and NaN has no sign") {
  CHECK(shortest(0.1) == "0.1");
  CHECK(shortest(1e30) == "1e+30");
  CHECK(shortest(std::copysign(std::numeric_limits<double>::quiet_NaN(), -1)) == "nan");
}

TEST_CASE("few images: the recipe's own batch shrinks to them, and its learning rate follows") {
  const auto fitted = [](Settings::Given flags, int64_t images, std::vector<std::string>* notes = nullptr) {
    flags.push_back({"data", {"synthetic"}});
    flags.push_back({"image-size", {"32"}});
    flags.push_back({"channels", {"3"}});
    const ConfigLayers layers{"", "", flags};
    TrainConfig config = resolve(layers, 32);
    fit_batch(config, layers, images, notes);
    CHECK_NOTHROW(validate(config));
    return config;
  };
  std::vector<std::string> notes;
  CHECK(fitted({}, 256, &notes).batch_size == 256);
  CHECK(notes.empty());
  const TrainConfig hundred = fitted({}, 100, &notes);
  CHECK(hundred.batch_size == 96);
  CHECK(*hundred.lr == 0.00122);  // 2e-3 sqrt(96 / 256), as AdamW takes it
  CHECK(contains(notes.at(0), "the data has 100 images, fewer than a batch of recipe small-images, 256: "));
  CHECK(contains(notes.at(0), "--batch-size is 96, lr 0.00122"));
  CHECK(fitted({}, 7).batch_size == 7);
  CHECK(*fitted({{"lr", {"0.5"}}}, 100).lr == 0.5);
  CHECK(fitted({{"recipe", {"cifar10"}}}, 100).effective_lr() == doctest::Approx(0.06 * 96 / 256));
  CHECK(*fitted({{"method", {"rotation"}}, {"recipe", {"cifar10"}}}, 64).lr == 0.05);  // SGD: in proportion
  CHECK(fitted({{"method", {"moco"}}}, 250).batch_size == 128);  // of which its queue is a multiple
  CHECK(fitted({{"method", {"moco"}}, {"queue-size", {"1000"}}, {"batch-size", {"8"}}, {"bn-splits", {"0"}}}, 250)
            .batch_size == 8);
  CHECK(fitted({{"chunk-size", {"16"}}}, 100).batch_size == 96);
  // What was asked for stays, and is an error later.
  CHECK(fitted({{"batch-size", {"128"}}}, 100).batch_size == 128);
  CHECK(fitted({}, 1).batch_size == 256);  // no batch of one image
}

TEST_CASE(
    "a setting that another leaves unused: a mistake on the command line, none of a recipe or a file, not in TOML") {
  struct Row {
    Settings::Given chosen;  // leaves `unused` unused
    std::string unused, text, toml;
    const char* other;  // what the message names beside it
  };
  const std::vector<Row> rows = {
      {{{"method", {"moco"}}, {"variant", {"v3"}}}, "queue-size", "4096", "4096", "--variant v3"},
      {{{"method", {"moco"}}, {"recipe", {"imagenet-v3"}}}, "queue-size", "4096", "4096", "--variant v3"},
      {{{"method", {"moco"}}, {"variant", {"v2"}}}, "predictor", "64,128", "[64, 128]", "--variant v3"},
      {{{"method", {"moco"}}, {"variant", {"v3"}}}, "symmetric", "false", "false", "--variant v3"},
      {{{"method", {"moco"}}, {"recipe", {"moco-cifar10-demo"}}, {"variant", {"v3"}}},
       "projector-batch-norm",
       "false",
       "false",
       "--variant v3"},
      {{{"method", {"byol"}}, {"no-predictor", {"true"}}}, "predictor", "64,128", "[64, 128]", "--no-predictor"},
      {{{"method", {"rotation"}}, {"recipe", {"cifar10"}}, {"schedule", {"cosine"}}},
       "lr-drop-epochs",
       "5,8",
       "[5, 8]",
       "--schedule"},
      {{{"method", {"rotation"}}, {"recipe", {"cifar10"}}, {"schedule", {"cosine"}}},
       "lr-drop-factor",
       "0.2",
       "0.2",
       "--schedule"}};
  for (const Row& row : rows) {
    CAPTURE(row.unused);
    ConfigLayers layers;
    layers.flags = row.chosen;
    layers.flags.push_back({"data", {"synthetic"}});
    TrainConfig config = resolve(layers, 32);
    const std::string text = settings_of(config).toml();
    CHECK_FALSE(contains(text, "\n" + row.unused + " = "));
    ConfigLayers printed;  // can be read again
    printed.toml = text;
    TrainConfig read = resolve(printed, 32);
    CHECK(settings_of(read).toml() == text);
    CHECK(first_difference(config, read, true) == "");
    layers.toml = row.unused + " = " + row.toml;
    TrainConfig with_file;  // an older run's configuration, or one of another variant
    CHECK_NOTHROW(with_file = resolve(layers, 32));
    CHECK(settings_of(with_file).toml() == text);
    layers.toml = "";
    layers.flags.push_back({row.unused, {row.text}});
    const std::string message = usage_error([&] { resolve(layers, 32); });
    CHECK(contains(message, "--" + row.unused));
    CHECK(contains(message, row.other));
  }
  TrainConfig collapse;  // a head of any size, without a word on the predictor that is not there
  ConfigLayers layers;
  layers.flags = {{"data", {"synthetic"}}, {"method", {"byol"}}, {"no-predictor", {"true"}}, {"projector", {"64,32"}}};
  CHECK_NOTHROW(collapse = resolve(layers, 32));
  collapse.image_size = 32;
  collapse.channels = 3;
  CHECK_NOTHROW(method_entry("byol").make(collapse));
}

TEST_CASE("a recipe's drops of the rate keep their place in a schedule of another length") {
  const auto drops = [](const Settings::Given& more) {
    ConfigLayers layers;
    layers.flags = {{"method", {"simclr"}}, {"recipe", {"stl10"}}, {"data", {"synthetic"}}};
    layers.flags.insert(layers.flags.end(), more.begin(), more.end());
    return resolve(layers, 96).lr_drop_epochs;
  };
  using Epochs = std::vector<int64_t>;
  CHECK(drops({}) == Epochs{1950, 1975});
  CHECK(drops({{"epochs", {"200"}}}) == Epochs{195, 197});
  CHECK(drops({{"epochs", {"1"}}}) == Epochs{1});
  CHECK(drops({{"epochs", {"200"}}, {"lr-drop-epochs", {"50"}}}) == Epochs{50});
  CHECK(contains(usage_error([&] { drops({{"epochs", {"200"}}, {"lr-drop-epochs", {"500"}}}); }), "--lr-drop-epochs"));
}

TEST_CASE("every method's example under --help is valid for photographs") {
  for (const MethodEntry& method : method_entries()) {
    CAPTURE(method.name);
    ConfigLayers layers;
    layers.flags = {{"data", {"synthetic"}}, {"method", {method.name}}};
    std::istringstream words(method.example);
    for (std::string flag, value; words >> flag >> value;) layers.flags.push_back({flag.substr(2), {value}});
    CHECK(layers.flags.size() > 2);
    CHECK_NOTHROW(resolve(layers, 300));
  }
}

TEST_CASE("every recipe of MoCo takes every variant") {
  for (const Recipe& recipe : method_entry("moco").recipes)
    for (const char* variant : {"v1", "v2", "v3"}) {
      CAPTURE(recipe.name);
      CAPTURE(variant);
      TrainConfig c;
      c.method = "moco";
      apply_recipe(c, recipe.name);
      c.data = {"synthetic"};
      c.variant = variant;
      CHECK_NOTHROW(validate(c));
    }
}

TEST_CASE("every recipe is valid, has a summary and its row in docs/recipes.md") {
  const std::string docs = testing::read_file(TACIT_SOURCE_DIR "/docs/recipes.md");
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
      const std::string row = "| " + std::string(method.name) + " | `" + recipe.name + "` | " + c.encoder + " | " +
                              std::to_string(c.epochs) + " | " + std::to_string(c.batch_size) + " |";
      CAPTURE(row);
      CHECK(docs.find(row) != std::string::npos);
    }
}
