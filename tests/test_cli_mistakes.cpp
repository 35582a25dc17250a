// Mistakes that people make on the command line: what they are told, and that no wrong figure comes of them.
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli.h"
#include "tensor/safetensors.h"

using namespace tacit::testing;
namespace fs = std::filesystem;

namespace {

/// An 8 x 8 image of one colour with a little texture.
void write_ppm(const std::string& path, int red, int green, int salt) {
  std::string pixels;
  for (int p = 0; p < 64; ++p) {
    pixels.push_back(static_cast<char>(red + (p * salt) % 7));
    pixels.push_back(static_cast<char>(green + p % 5));
    pixels.push_back(static_cast<char>((p * 3 + salt) % 11));
  }
  write_file(path, "P6\n8 8\n255\n" + pixels);
}

/// `n` images of a class: 'm' is red, 'n' green, anything else dark.
void write_class(const std::string& directory, const std::string& name, int n) {
  fs::create_directories(directory + "/" + name);
  for (int i = 0; i < n; ++i)
    write_ppm(directory + "/" + name + "/" + std::to_string(i) + ".ppm", name == "m" ? 220 : 10, name == "n" ? 220 : 10,
              i + 1);
}

double top1_of(const Arguments& arguments) {
  const Outcome outcome = run_tacit(with(arguments, {"--json", "-"}));
  check_ok(outcome);
  return nlohmann::json::parse(outcome.out)["top1"];
}

}  // namespace

TEST_CASE("classes are matched by name: a test split that lacks one, in the folder or by --test-data") {
  const TemporaryDirectory dir;
  write_class(dir / "d/train", "m", 8);
  write_class(dir / "d/train", "n", 8);
  write_class(dir / "d/test", "n", 4);
  write_class(dir / "whole", "m", 8);
  write_class(dir / "whole", "n", 8);
  CHECK(top1_of({"knn", shared_run(), "--data", dir / "d", "--k", "3"}) == 1);
  CHECK(top1_of({"knn", shared_run(), "--data", dir / "whole", "--test-data", dir / "d/test", "--k", "3"}) == 1);
  check_ok(run_tacit({"embed", shared_run(), "--data", dir / "d", "--split", "test", "--out", dir / "features"}));
  const std::string labels = read_file(dir / "features/labels.npy");
  int64_t last = 0;
  std::memcpy(&last, labels.data() + labels.size() - sizeof last, sizeof last);
  CHECK(last == 1);  // n, as in the training split

  write_class(dir / "d/test", "o", 4);
  check_error(run_tacit({"knn", shared_run(), "--data", dir / "d", "--k", "3"}), 1, "class 'o'");
  write_class(dir / "p/test", "o", 4);
  check_error(run_tacit({"knn", shared_run(), "--data", dir / "whole", "--test-data", dir / "p/test"}), 1, "class 'o'");
}

TEST_CASE("weights that are not finite: refused by name, wherever they come from") {
  const TemporaryDirectory dir;
  tacit::SafeTensors content = tacit::read_safetensors(shared_run() + "/checkpoints/last.safetensors");
  content.tensors.at("model.encoder.conv2.weight").select(0, 0).fill_(std::numeric_limits<double>::quiet_NaN());
  const std::string file = dir / "nan.safetensors";
  tacit::write_safetensors(file, content);
  check_error(run_tacit({"knn", file, "--data", "synthetic:100"}), 1, "conv2.weight");
  check_error(run_tacit({"export", file, "--out", dir / "x"}), 1, "conv2.weight");
  check_error(run_tacit(small_run(dir / "run", {"--init", file})), 1, "--init");
  CHECK_FALSE(fs::exists(dir / "x"));
  CHECK_FALSE(fs::exists(dir / "run"));
}

TEST_CASE("flags: switches take true or false, one value each, and what is left over is named") {
  const TemporaryDirectory dir;
  const std::string out = dir / "run";
  const auto pretrain = [&](const Arguments& more) {
    return run_tacit(with({"pretrain", "simclr", "--data", "synthetic", "--out", out}, more));
  };
  for (const char* wrong : {"maybe", "7", "", "TRUE"}) {
    CAPTURE(wrong);
    check_error(pretrain({std::string("--projector-batch-norm=") + wrong}), 2, "--projector-batch-norm");
    check_error(run_tacit(on_run("evaluate", {std::string("--supervised=") + wrong})), 2, "--supervised");
  }
  check_error(pretrain({"extra"}), 2, "'extra'");
  check_error(run_tacit({"pretrain", "simclr", "--out", out, "--data", "synthetic", "extra"}), 2, "'extra'");
  check_error(pretrain({"--bogus", "3"}), 2, "--bogus");
  check_error(run_tacit({"bogus"}), 2, "unknown command 'bogus'");
  check_error(pretrain({"--stem", "cifar", "--encoder", "small_cnn"}), 2, "--stem");
  check_error(pretrain({"--sgd-momentum", "0.5", "--optimizer", "adamw"}), 2, "--sgd-momentum");
  check_error(pretrain({"--memory-limit", "0"}), 2, "--memory-limit");
  check_error(pretrain({"--test-data", dir / "nope"}), 1, "nope");
  check_error(run_tacit(on_run("evaluate", {"--labels-per-class", ""})), 2, "--labels-per-class");
  check_error(run_tacit(on_run("finetune", {"--draw", "1"})), 2, "--labels-per-class");
  CHECK_FALSE(fs::exists(out));
  // The settings of a configuration file are all there, also those that the optimiser does not use.
  check_ok(run_tacit(small_run(out, {"--stem", "auto", "--print-config"})));
}

TEST_CASE("no output is written over a run's own files, whatever command writes it") {
  const TemporaryDirectory dir;
  const std::string run = dir / "run", checkpoint = run + "/checkpoints/last.safetensors";
  check_ok(run_tacit(small_run(run)));
  const std::string before = read_file(checkpoint), config = read_file(run + "/config.toml");
  check_error(run_tacit({"export", run, "--out", checkpoint}), 2, "a run's own file");
  check_error(run_tacit({"export", run, "--out", run + "/images/../checkpoints/other.safetensors"}), 2, "--out");
  for (const std::string& file : {checkpoint, run + "/config.toml", run + "/metrics.jsonl", run + "/commands.jsonl"})
    check_error(run_tacit({"knn", run, "--data", "synthetic:100", "--json", file}), 2, "--json");
  check_error(run_tacit({"neighbours", run, "--data", "synthetic:100", "--out", checkpoint}), 2, "a run's own file");
  check_error(run_tacit(small_run(dir / "second", {"--json", run + "/metrics.jsonl"})), 2, "--json");
  CHECK(read_file(checkpoint) == before);
  CHECK(read_file(run + "/config.toml") == config);
  check_ok(run_tacit({"knn", run, "--data", "synthetic:100", "--json", run + "/knn.json"}));
}

TEST_CASE("what the run and the flags decide is a usage error, before the data is opened") {
  const auto refused = [&](const std::string& command, const Arguments& more, const std::string& part) {
    CAPTURE(command);
    check_error(run_tacit(with({command, shared_run()}, more)), 2, part);
  };
  const std::string none = "/no/such/data";
  refused("finetune", {"--data", none, "--drop-path", "0.1"}, "--drop-path is of a ViT");
  refused("finetune", {"--data", none, "--recipe", "mae"}, "--recipe mae is of ViTs");
  refused("finetune", {"--data", none, "--erase-with", "mean"}, "--random-erasing");
  refused("evaluate", {"--data", none, "--recipe", "mae"}, "--recipe mae is of ViTs");
  refused("evaluate", {"--data", none, "--labels-per-class", "3,3"}, "twice");
  refused("evaluate", {"--data", none, "--supervised=false", "--with-finetuning=false", "--min-steps", "9"},
          "--min-steps");
  refused("export", {"--out", "/nowhere/x", "--format", "timm"}, "--format timm");
  refused("export", {"--out", "/nowhere/x", "--teacher"}, "--teacher");
  refused("neighbours", {"--data", none, "--out", "n.png", "--query", "synthetic", "--queries", "5"}, "--queries");
  check_error(run_tacit({"pretrain", "jigsaw", "--data", "synthetic", "--gap", "-1", "--out", "x"}), 2, "--gap");
  check_error(run_tacit({"pretrain", "simclr", "--data", "synthetic", "--pool", "mean", "--out", "x"}), 2, "--pool");
  check_error(run_tacit({"pretrain", "colorization", "--data", "synthetic", "--color-loss", "regression",
                         "--color-uniform", "0.7", "--out", "x"}),
              2, "--color-uniform");
  check_error(run_tacit({"pretrain", "simclr", "--data", "synthetic", "--lr", "-1", "--out", "x"}), 2, "got -1");
}

TEST_CASE("files that a flag names are told with the flag") {
  const TemporaryDirectory dir;
  write_file(dir / "text", "this is no safetensors file");
  check_error(run_tacit(small_run(dir / "run", {"--init", dir / "none"})), 1, "--init");
  check_error(run_tacit(small_run(dir / "run", {"--init", dir / "text"})), 1, "is it a safetensors file?");
  write_file(dir / "resnet.pth", std::string("PK\3\4") + std::string(26, '\0') + "archive/data.pkl");
  check_error(run_tacit(small_run(dir / "run", {"--init", dir / "resnet.pth"})), 1,
              "--init: [safetensors] " + (dir / "resnet.pth") +
                  ": it is a PyTorch file, not safetensors; convert it: python3 -c 'import ");
  check_error(run_tacit({"knn", dir / "text", "--data", "synthetic"}), 1, "is it a safetensors file?");
  check_error(run_tacit({"pretrain", "simclr", "--config", dir / "none.toml"}), 1, "--config");
  check_error(run_tacit(small_run("/proc/no/run")), 1, "--out");
  check_error(run_tacit(on_run("neighbours", {"--query", dir / "none.png", "--out", dir / "n.png"})), 1, "--query");
  // Outputs are tried before the work that fills them.
  check_error(run_tacit(small_run(dir / "run", {"--json", dir / "text/figures.json"})), 1, "--json");
  check_error(run_tacit({"export", shared_run(), "--out", dir / "text/encoder.safetensors"}), 1, "--out");
  check_error(run_tacit({"export", shared_run(), "--out", "/proc/no/encoder.safetensors"}), 1, "--out");
  CHECK_FALSE(fs::exists(dir / "run"));
}

TEST_CASE("outputs: the directories that they lack are made, and none by a command that fails") {
  const TemporaryDirectory dir;
  check_ok(run_tacit({"export", shared_run(), "--out", dir / "export/a/encoder.safetensors", "--json",
                      dir / "export/b/figures.json"}));
  check_ok(run_tacit(on_run("neighbours", {"--k", "2", "--queries", "2", "--out", dir / "pictures/near.png"})));
  check_ok(
      run_tacit({"augment", "simclr", "--data", "synthetic:50", "--image-size", "16", "--out", dir / "v/views.png"}));
  check_ok(run_tacit(on_run("embed", {"--out", dir / "features/of/run"})));
  for (const char* made : {"export/a/encoder.safetensors", "export/b/figures.json", "pictures/near.png", "v/views.png",
                           "features/of/run/features.npy"})
    CHECK(fs::exists(dir / made));
  const std::string none = dir / "none";
  check_error(run_tacit({"knn", dir / "no-run", "--data", "synthetic:50", "--json", none + "/a/f.json"}), 1, "no-run");
  check_error(run_tacit({"neighbours", shared_run(), "--data", dir / "no-data", "--out", none + "/n.png"}), 1,
              "no-data");
  check_error(run_tacit({"embed", shared_run(), "--data", dir / "no-data", "--out", none + "/e"}), 1, "no-data");
  check_error(
      run_tacit({"pretrain", "simclr", "--data", dir / "no-data", "--out", none + "/r", "--json", none + "/f.json"}), 1,
      "no-data");
  CHECK_FALSE(fs::exists(none));
}

TEST_CASE("what flags alone decide of data and encoders is exit 2, with the flag") {
  const TemporaryDirectory dir;
  const auto pretrain = [&](const Arguments& more) {
    return run_tacit(with({"pretrain", "simclr", "--out", dir / "run"}, more));
  };
  for (const char* spec :
       {"synthetic:abc", "synthetic:0", "synthetic:99999999999999", "foo:bar", "idx:", "tar:a-{3..1}.tar"}) {
    CAPTURE(spec);
    check_error(pretrain({"--data", spec}), 2, "--data: [");
  }
  check_error(pretrain({"--data", "synthetic:50", "--test-data", "foo:bar"}), 2, "--test-data: ");
  check_error(run_tacit({"knn", "run", "--data", "foo:bar"}), 2, "--data: ");
  check_error(run_tacit({"augment", "simclr", "--data", "foo:bar", "--out", dir / "v.png"}), 2, "--data: ");
  check_error(run_tacit(on_run("neighbours", {"--query", "foo:bar", "--out", dir / "n.png"})), 2, "--query: ");
  check_error(pretrain({"--data", dir / "foo:bar"}), 1, "does not exist");  // a path, which only the disk decides
  for (const char* width : {"10", "100", "34"}) {
    CAPTURE(width);
    check_error(pretrain({"--data", "synthetic:50", "--encoder", "vit_tiny", "--encoder-width", width}), 2,
                "--encoder-width: ");
  }
  check_error(run_tacit({"pretrain", "mae", "--data", "synthetic:50", "--out", dir / "run", "--encoder-width", "100"}),
              2, "--encoder-width: ");
  CHECK_FALSE(fs::exists(dir / "run"));
}

TEST_CASE("contradictions of said flags are exit 2, with both") {
  const TemporaryDirectory dir;
  const auto check_both = [&](const Arguments& more, const char* one, const char* other) {
    const Outcome outcome = run_tacit(with({"pretrain"}, with(more, {"--data", "synthetic:50", "--out", dir / "run"})));
    check_error(outcome, 2, one);
    check_error(outcome, 2, other);
  };
  check_both({"moco", "--variant", "v3", "--queue-size", "4096"}, "--queue-size", "--variant v3");
  check_both({"moco", "--recipe", "imagenet-v3", "--queue-size", "4096"}, "--queue-size", "--variant v3");
  check_both({"moco", "--variant", "v2", "--predictor", "64,32"}, "--predictor", "v2");
  check_both({"byol", "--no-predictor", "--predictor", "64,32"}, "--predictor", "--no-predictor");
  check_both({"simclr", "--schedule", "cosine", "--lr-drop-epochs", "5,8"}, "--lr-drop-epochs", "--schedule cosine");
  write_file(dir / "c.toml", "variant = 'v3'\nqueue-size = 4096\n");
  const Outcome file = run_tacit({"pretrain", "moco", "--config", dir / "c.toml", "--data", "synthetic:50",
                                  "--image-size", "32", "--print-config"});  // a file may name every setting
  check_ok(file);
  CHECK_FALSE(contains(file.out, "queue-size"));
  CHECK_FALSE(fs::exists(dir / "run"));
}

TEST_CASE("RUN and --init are looked at before the data, and a refused start leaves nothing") {
  const TemporaryDirectory dir;
  write_file(dir / "file", "text");
  const auto start = [&](const std::string& out, const Arguments& more = {}) {
    return run_tacit(with({"pretrain", "simclr", "--data", dir / "no-data", "--out", out}, more));
  };
  check_error(start(dir / "file"), 1, "--out");
  check_error(start(dir / "file/run"), 1, "--out");
  check_error(start("/proc/no/run"), 1, "--out");
  check_error(start(shared_run()), 2, "--resume");
  check_error(start(dir / "new/run", {"--init", dir / "none.safetensors"}), 1, "--init");
  check_error(start(dir / "new/run", {"--init", dir / "file"}), 1, "--init");
  check_error(start(dir / "new/run"), 1, "no-data");
  CHECK_FALSE(fs::exists(dir / "new"));
  CHECK(read_file(dir / "file") == "text");
}

TEST_CASE("a start that fails on its files leaves no run behind") {
  const TemporaryDirectory dir;
  fs::create_directories(dir / "broken");
  for (int i = 0; i < 20; ++i) write_file(dir / "broken/" + std::to_string(i) + ".ppm", "P6\n8 8\n255\nshort");
  check_error(run_tacit({"pretrain", "simclr", "--data", dir / "broken", "--out", dir / "run", "--batch-size", "4",
                         "--image-size", "8", "--encoder-width", "4"}),
              1, ".ppm");
  CHECK_FALSE(fs::exists(dir / "run"));
}

TEST_CASE("--resume of a run that is not there: started, and said; without data an error") {
  const TemporaryDirectory dir;
  const Outcome started = run_tacit(small_run(dir / "run", {"--resume", "--quiet", "--steps", "1"}));
  check_ok(started);
  CHECK(contains(started.err, "there is no run in"));
  check_error(run_tacit({"pretrain", "simclr", "--out", dir / "other", "--resume"}), 2, "there is no run in");
  // A directory of other files is none, and nothing in it is cut.
  fs::create_directory(dir / "logs");
  write_file(dir / "logs/events.out.tfevents.1.host", "somebody's");
  check_error(run_tacit(small_run(dir / "logs", {"--resume"})), 2, "is no run");
  CHECK(read_file(dir / "logs/events.out.tfevents.1.host") == "somebody's");
  fs::create_directories(dir / "begun/checkpoints");  // a run that was killed before its config.toml
  check_ok(run_tacit(small_run(dir / "begun", {"--resume", "--steps", "1"})));
}

TEST_CASE("flags are judged by the recipe that the data chooses, not by a guess") {
  const TemporaryDirectory dir;
  const auto printed = [](const Arguments& flags) {
    return run_tacit(with({"pretrain", "--data", "synthetic:2000", "--print-config"}, flags));
  };
  check_ok(printed({"simclr", "--chunk-size", "128"}));  // folder has batches of 64, small-images of 256
  check_ok(printed({"moco", "--bn-splits", "64"}));
  check_error(printed({"simclr", "--chunk-size", "100"}), 2, "--chunk-size 100");
  check_error(printed({"simclr", "--warmup-epochs", "50"}), 1, "the data's images decided");
  check_ok(printed({"mae", "--recipe", "cifar10", "--epochs", "10"}));
  const Outcome other = printed({"rotation", "--recipe", "cifar10", "--optimizer", "adamw"});
  check_ok(other);
  CHECK_FALSE(contains(other.out, "nesterov"));
  check_error(printed({"rotation", "--optimizer", "adamw", "--nesterov"}), 2, "--nesterov");
  check_error(printed({"rotation", "--recipe", "cifar10", "--sgd-momentum", "0"}), 2, "--sgd-momentum 0");
  check_ok(printed({"moco", "--recipe", "imagenet-v3-vit", "--encoder", "resnet50"}));
  check_error(printed({"simclr", "--encoder", "resnet18", "--patch-size", "4"}), 2, "--patch-size");
  check_ok(printed({"byol", "--projector", "512,0", "--predictor", "512,256"}));
  check_error(printed({"colorization", "--image-size", "32", "--color-stride", "32"}), 2, "--color-stride 32");
  check_error(run_tacit({"finetune", shared_run(), "--data", "synthetic:100", "--head-std", "10"}), 2, "--head-std");
}

TEST_CASE("features of a stage; its name must be one of the encoder's") {
  CHECK(top1_of(on_run("knn", {"--feature", "block4"})) == top1_of(on_run("knn", {"--feature", "encoder"})));
  CHECK(top1_of(on_run("knn", {"--feature", "block2"})) > 0.1);
  check_error(run_tacit(on_run("knn", {"--feature", "block9"})), 2, "block4");
  check_error(run_tacit(on_run("knn", {"--feature", "layer3"})), 2, "block1");
}

TEST_CASE("few images: defaults shrink and say so, what was asked for is an error") {
  const Outcome knn = run_tacit(with({"knn", shared_run(), "--limit", "16"}, {"--data", "synthetic:100"}));
  check_ok(knn);
  CHECK(contains(knn.err, "--k"));
  CHECK(contains(knn.out, "kNN(16)"));
  check_error(run_tacit({"knn", shared_run(), "--data", "synthetic:100", "--limit", "16", "--k", "17"}), 1, "--k 17");
  const Outcome table =
      run_tacit(with({"evaluate", shared_run(), "--data", "synthetic:200", "--draws", "1", "--supervised=false"}, {}));
  check_ok(table);
  CHECK(contains(table.err, "--labels-per-class 100"));
  CHECK(contains(table.out, "10 labels per class"));
  CHECK_FALSE(contains(table.out, "100 labels per class"));
  check_error(run_tacit(on_run("evaluate", {"--labels-per-class", "100"})), 1, "--labels-per-class 100");
}

TEST_CASE("json is one object with numbers as numbers; devices and links are not replaced") {
  const TemporaryDirectory dir;
  const Outcome near = run_tacit(on_run("neighbours", {"--out", dir / "n.png", "--k", "2", "--json", "-"}));
  check_ok(near);
  const auto figures = nlohmann::json::parse(near.out);
  CHECK(figures["k"] == 2);
  CHECK(figures["queries"][0]["neighbours"][1]["similarity"].is_number());
  const Outcome info = run_tacit({"info", shared_run(), "--json", "-"});
  check_ok(info);
  CHECK(nlohmann::json::parse(info.out)["step"].is_number_integer());
  const Outcome machine = run_tacit({"info", "--json", "/dev/stdout"});
  check_ok(machine);
  CHECK(contains(machine.out, "memory_limit_bytes"));
  CHECK(fs::is_symlink("/dev/stdout"));
  write_file(dir / "real.json", "{}");
  fs::create_symlink(dir / "real.json", dir / "link.json");
  check_ok(run_tacit({"info", "--json", dir / "link.json"}));
  CHECK(fs::is_symlink(dir / "link.json"));
  CHECK(contains(read_file(dir / "real.json"), "version"));
}

TEST_CASE("one image, one step: messages count in the singular") {
  const TemporaryDirectory dir;
  write_ppm(dir / "one.ppm", 220, 10, 1);
  const Outcome one = run_tacit({"embed", shared_run(), "--data", dir / "one.ppm", "--out", dir / "features"});
  check_ok(one);
  CHECK(contains(one.out, ": 1 image, "));
  check_error(run_tacit({"embed", shared_run(), "--data", dir / "one.ppm", "--split", "train", "--out", dir / "x"}), 1,
              "has 1 image: too few");
  const Outcome run = run_tacit({"pretrain", "rotation", "--data", dir / "one.ppm", "--split", "all", "--batch-size",
                                 "1", "--encoder-width", "4", "--epochs", "1", "--out", dir / "run"});
  check_ok(run);
  for (const char* part : {" 1 image, ", ", seen at", "1 epoch of 1 step, batches of 1 x 1 view"})
    CHECK(contains(run.err, part));
  CHECK(contains(run.out, ": 1 step"));
  CHECK_FALSE(contains(run.out, "1 steps"));
}
