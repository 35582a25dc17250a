// The command line on evaluation: transfer to other data, unlabelled data, fine-tuning's flags, clusters and pictures,
// exports, weights of another network.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "tensor/npy.h"
#include "tensor/ops.h"
#include "tensor/safetensors.h"
#include "tests/cli.h"

using namespace tacit;
using namespace tacit::testing;
namespace fs = std::filesystem;

namespace {

/// Gray PGM images of three classes and many sizes, below DIR/train and DIR/test.
std::string gray_folder(const TemporaryDirectory& dir) {
  for (const char* split : {"train", "test"})
    for (int c = 0; c < 3; ++c) {
      const std::string at = dir / "gray/" + split + "/" + std::to_string(c);
      fs::create_directories(at);
      for (int i = 0; i < 8; ++i) {
        const int side = 12 + 5 * i;
        std::string bytes = "P5\n" + std::to_string(side) + " " + std::to_string(side + c) + "\n255\n";
        for (int y = 0; y < side + c; ++y)
          for (int x = 0; x < side; ++x)
            bytes += static_cast<char>(c == 0 ? 8 * (x % 16) : c == 1 ? 8 * (y % 16) : 200);
        write_file(at + "/" + std::to_string(i) + ".pgm", bytes);
      }
    }
  return "folder:" + (dir / "gray");
}

Arguments tiny(const std::string& method, const std::string& out, const Arguments& more) {
  return with({"pretrain", method, "--data", "synthetic:60", "--image-size", "16", "--batch-size", "8", "--steps", "3",
               "--epochs", "1", "--out", out, "--quiet"},
              more);
}
const Arguments kVit = {"--encoder", "vit_micro", "--encoder-width", "32", "--patch-size", "8"};

const std::string& vit_run() {
  static const TemporaryDirectory dir;
  static const std::string path = [] {
    const std::string run = dir / "vit";
    check_ok(run_tacit(tiny("simclr", run, kVit)));
    return run;
  }();
  return path;
}

}  // namespace

TEST_CASE("transfer: gray images of any size for a network of colour, and the reverse") {
  const TemporaryDirectory dir;
  const std::string gray = gray_folder(dir);
  for (const Arguments& command :
       {Arguments{"knn", "--k", "3"}, Arguments{"linear", "--epochs", "3"},
        Arguments{"evaluate", "--labels-per-class", "2", "--draws", "1", "--min-steps", "3", "--with-finetuning"},
        Arguments{"finetune", "--min-steps", "3", "--epochs", "1"}}) {
    CAPTURE(command[0]);
    const Outcome outcome = run_tacit(with(command, {shared_run(), "--data", gray, "--json", "-", "--quiet"}));
    check_ok(outcome);
    const nlohmann::json figures = nlohmann::json::parse(outcome.out);
    CHECK(figures.contains(command[0] == "evaluate" ? "knn" : "top1"));
  }
  check_ok(
      run_tacit(tiny("simclr", dir / "gray-run",
                     {"--channels", "1", "--encoder", "small_cnn", "--encoder-width", "8", "--projector", "8,8"})));
  check_ok(run_tacit({"knn", dir / "gray-run", "--data", "synthetic:60", "--k", "3", "--quiet"}));
  check_ok(run_tacit({"embed", dir / "gray-run", "--data", gray, "--out", dir / "features", "--quiet"}));
}

TEST_CASE("unlabelled data: every command that needs labels says so, naming the flag, before any work") {
  const TemporaryDirectory dir;
  fs::create_directories(dir / "flat");
  for (int i = 0; i < 20; ++i) write_file(dir / "flat/" + std::to_string(i) + ".ppm", "P6\n1 1\n255\nabc");
  const std::string flat = "folder:" + (dir / "flat");
  for (const char* command : {"knn", "linear", "finetune", "evaluate"}) {
    CAPTURE(command);
    check_error(run_tacit({command, shared_run(), "--data", flat, "--quiet"}), 1,
                "--data " + flat + ": 18 of its 18 training images have no label");
  }
  check_error(run_tacit({"linear", shared_run(), "--data", "synthetic:60", "--test-data", flat, "--quiet"}), 1,
              "label");
}

TEST_CASE("one class: no accuracy, and a line that says so") {
  const TemporaryDirectory dir;
  fs::create_directories(dir / "set/only");
  for (int i = 0; i < 30; ++i)
    write_file(dir / "set/only/" + std::to_string(i) + ".ppm",
               "P6 8 8 255\n" + std::string(192, static_cast<char>(i * 8)));
  for (const char* command : {"knn", "linear", "evaluate", "finetune"})
    check_error(run_tacit({command, shared_run(), "--data", dir / "set", "--quiet"}), 1, "are all of one class");
}

TEST_CASE("evaluate: clusters, principal components as a picture, features of a stage, one recipe for both rows") {
  const TemporaryDirectory dir;
  fs::copy(shared_run(), dir / "run", fs::copy_options::recursive);
  const Arguments quick = {"evaluate", dir / "run", "--data", "synthetic:200",      "--quiet", "--json",
                           "-",        "--draws",   "1",      "--labels-per-class", "2",       "--min-steps",
                           "3"};
  const Outcome outcome = run_tacit(quick);
  check_ok(outcome);
  const nlohmann::json table = nlohmann::json::parse(outcome.out);
  CHECK(table["clustering"]["k"] == 10);
  for (const char* score : {"nmi", "accuracy"})
    for (const char* row : {"pixels", "random", "run"}) {
      CHECK(table["clustering"][score][row] > 0.0);
      CHECK(table["clustering"][score][row] <= 1.0);
    }
  const std::string picture = read_file(dir / "run/images/pca.png");
  CHECK(picture.substr(1, 3) == "PNG");
  CHECK(picture.size() > 3000);
  check_ok(run_tacit(quick));
  CHECK(read_file(dir / "run/images/pca.png") == picture);

  const Outcome stage = run_tacit(with(quick, {"--feature", "block1"}));
  check_ok(stage);
  const nlohmann::json of_block = nlohmann::json::parse(stage.out);
  CHECK(of_block["knn"]["pixels"] == table["knn"]["pixels"]);
  CHECK(of_block["rank_me"] != table["rank_me"]);
  check_error(run_tacit(with(quick, {"--feature", "projection"})), 2, "block4");
  check_error(run_tacit(with(quick, {"--recipe", "mae"})), 2, "small_cnn");

  const Outcome rows =
      run_tacit({"evaluate", vit_run(), "--data", "synthetic:60", "--quiet", "--json", "-", "--draws", "1",
                 "--labels-per-class", "2", "--min-steps", "3", "--recipe", "mae", "--with-finetuning"});
  check_ok(rows);
  CHECK(contains(rows.out, "supervised"));
  CHECK(contains(rows.out, "finetuned"));
}

TEST_CASE("embed: the features of a stage") {
  const TemporaryDirectory dir;
  for (const std::string feature : {"encoder", "block2", "projection"}) {
    const Outcome outcome = run_tacit(on_run("embed", {"--feature", feature, "--out", dir / feature, "--json", "-"}));
    check_ok(outcome);
    const nlohmann::json figures = nlohmann::json::parse(outcome.out);
    CHECK(figures["features"] == (feature == "encoder" ? 64 : feature == "block2" ? 16 : 8));
  }
  check_error(run_tacit(on_run("embed", {"--feature", "layer9", "--out", dir / "x"})), 2, "--feature");
}

TEST_CASE("finetune: flags out of range and what is of ViTs only; recipes resolve and round-trip") {
  const TemporaryDirectory dir;
  const std::vector<std::pair<const char*, const char*>> wrong = {
      {"layer-decay", "0"},     {"layer-decay", "1.5"}, {"drop-path", "1"},        {"mixup", "-1"},
      {"cutmix", "-1"},         {"beta2", "1"},         {"pool", "max"},           {"random-erasing", "2"},
      {"label-smoothing", "1"}, {"recipe", "beit"},     {"erase-with", "tea"},     {"warmup-fraction", "2"},
      {"head-std", "-1"},       {"base-lr", "-1"},      {"augmentation", "strong"}};
  for (const auto& [flag, value] : wrong)
    check_error(run_tacit(on_run("finetune", {std::string("--") + flag, value})), 2, std::string("--") + flag);
  check_error(run_tacit(on_run("finetune", {"--lr", "1e-3", "--base-lr", "1e-3"})), 2, "--base-lr");
  check_error(run_tacit(on_run("finetune", {"--hidden", "200,0"})), 2, "--hidden");
  check_error(run_tacit(on_run("finetune", {"--hidden", "8", "--head-std", "0.1"})), 2,
              "--head-std is of a head of one");
  check_error(run_tacit(on_run("finetune", {"--frozen", "block2", "--layer-decay", "0.5"})), 2, "--frozen keeps it");
  check_error(run_tacit(on_run("finetune", {"--frozen", "layer9"})), 2, "no stage 'layer9'; its stages: block1");
  for (const Arguments& of_vits : {Arguments{"--pool", "mean"}, {"--drop-path", "0.1"}, {"--learn-positions"}})
    check_error(run_tacit(on_run("finetune", of_vits)), 2, "small_cnn");

  const Outcome printed = run_tacit({"finetune", "run", "--recipe", "mae", "--mixup", "0.5", "--print-config"});
  check_ok(printed);
  for (const char* line : {"layer-decay = 0.65", "mixup = 0.5", "cutmix = 1", "base-lr = 5e-04", "pool = 'mean'"})
    CHECK(contains(printed.out, line));
  CHECK_FALSE(contains(printed.out, "\nlr ="));
  write_file(dir / "config.toml", printed.out);
  const Outcome again = run_tacit({"finetune", "run", "--config", dir / "config.toml", "--print-config"});
  check_ok(again);
  CHECK(again.out == printed.out);

  for (const bool scratch : {false, true}) {
    Arguments arguments = {"finetune", vit_run(),     "--data", "synthetic:60", "--recipe", "mae", "--epochs",
                           "1",        "--min-steps", "4",      "--quiet",      "--json",   "-"};
    if (scratch) arguments.emplace_back("--from-scratch");
    const Outcome outcome = run_tacit(arguments);
    check_ok(outcome);
    const nlohmann::json figures = nlohmann::json::parse(outcome.out);
    CHECK(figures["from_scratch"] == scratch);
    CHECK(figures["recipe"] == "mae");
    CHECK(figures["lr"].get<double>() == doctest::Approx(5e-4 * 50 / 256));
  }
}

TEST_CASE("bug 12: the exported teacher has its own batch norm statistics and weights") {
  const TemporaryDirectory dir;
  for (const char* method : {"byol", "moco"}) {
    CAPTURE(method);
    const std::string run = dir / method;
    check_ok(run_tacit(tiny(method, run,
                            with({"--encoder", "small_cnn", "--encoder-width", "8", "--projector", "16,8"},
                                 std::string(method) == "moco" ? Arguments{"--queue-size", "16", "--bn-splits", "0"}
                                                               : Arguments{"--predictor", "16,8"}))));
    check_ok(run_tacit({"export", run, "--out", dir / "online.safetensors", "--quiet"}));
    check_ok(run_tacit({"export", run, "--out", dir / "teacher.safetensors", "--teacher", "--quiet"}));
    const auto online = read_safetensors(dir / "online.safetensors").tensors,
               teacher = read_safetensors(dir / "teacher.safetensors").tensors;
    const auto checkpoint = read_safetensors(run + "/checkpoints/last.safetensors").tensors;
    REQUIRE(online.size() == teacher.size());
    const std::string branch = std::string(method) == "byol" ? "model.target.encoder." : "model.key.encoder.";
    for (const auto& [name, value] : teacher) {
      REQUIRE(checkpoint.count(branch + name) == 1);
      CHECK(max_abs_difference(value, checkpoint.at(branch + name)) == 0);
    }
    for (const char* name : {"bn1.running_mean", "bn4.running_var", "conv1.weight"})
      CHECK(max_abs_difference(online.at(name), teacher.at(name)) > 0);
  }
  check_error(run_tacit({"export", shared_run(), "--out", dir / "x.safetensors", "--teacher"}), 2, "--teacher: simclr");
}

TEST_CASE("export formats: what fits an encoder, what does not") {
  const TemporaryDirectory dir;
  const std::string out = dir / "x.safetensors";
  const auto json = [&](const Arguments& more) {
    const Outcome outcome = run_tacit(with({"export", "--out", out, "--json", "-", "--quiet"}, more));
    check_ok(outcome);
    return nlohmann::json::parse(outcome.out);
  };
  CHECK(json({vit_run()})["format"] == "timm");
  CHECK(read_safetensors(out).tensors.count("cls_token") == 1);
  CHECK(json({vit_run(), "--format", "mae"})["format"] == "mae");
  CHECK(json({shared_run()})["format"] == "torchvision");
  CHECK(read_safetensors(out).tensors.count("mask_token") == 0);
  check_ok(run_tacit(tiny("mae", dir / "mae", kVit)));
  CHECK(json({dir / "mae", "--format", "timm"})["tensors"] == json({vit_run()})["tensors"]);
  // The same tensors, other features: timm must be told of the pool.
  const auto timm_of = [&](const std::string& run) {
    json({run});
    return read_safetensors(out).metadata.at("timm");
  };
  CHECK(contains(timm_of(vit_run()), "global_pool='token')"));
  CHECK(contains(timm_of(dir / "mae"), "global_pool='avg', fc_norm=False)"));
  json({dir / "mae", "--format", "mae"});
  const auto official = read_safetensors(out).tensors,
             whole = read_safetensors(dir / "mae/checkpoints/last.safetensors").tensors;
  for (const char* name : {"cls_token", "pos_embed", "patch_embed.proj.weight", "blocks.3.mlp.fc2.bias", "norm.weight",
                           "mask_token", "decoder_embed.weight", "decoder_pos_embed",
                           "decoder_blocks.0.attn.qkv.weight", "decoder_norm.bias", "decoder_pred.weight"})
    CHECK(official.count(name) == 1);
  size_t of_model = 0;
  for (const auto& entry : whole) of_model += entry.first.rfind("model.", 0) == 0;
  CHECK(official.size() == of_model);
  check_error(run_tacit({"export", vit_run(), "--out", out, "--format", "torchvision"}), 2, "vit_micro");
  check_error(run_tacit({"export", shared_run(), "--out", out, "--format", "timm"}), 2, "small_cnn");
  check_error(run_tacit({"export", shared_run(), "--out", out, "--format", "mae"}), 2, "small_cnn");
}

TEST_CASE(
    "export to ONNX: by --format or the file's name, of any encoder, with its metadata; the teacher's own weights") {
  const TemporaryDirectory dir;
  const auto figures_of = [&](const Arguments& more) {
    const Outcome outcome = run_tacit(with({"export", "--json", "-", "--quiet"}, more));
    check_ok(outcome);
    return nlohmann::json::parse(outcome.out);
  };
  const auto plain = figures_of({shared_run(), "--out", dir / "a.onnx"});
  CHECK(plain["format"] == "onnx");
  CHECK(plain["include_normalisation"] == false);
  check_error(run_tacit({"export", shared_run(), "--out", dir / "b.onnx", "--format", "torchvision"}), 2,
              "name it FILE.safetensors");
  check_error(run_tacit({"export", shared_run(), "--out", dir / "b.pt"}), 2, "name it FILE.safetensors");
  check_error(run_tacit({"export", shared_run(), "--out", dir / "b.safetensors", "--format", "onnx"}), 2,
              "name it FILE.onnx");
  CHECK(figures_of({shared_run(), "--out", dir / "a", "--format", "onnx"}) == plain);
  const auto pixels = figures_of({shared_run(), "--out", dir / "pixels.onnx", "--include-normalisation"});
  CHECK(pixels["nodes"].get<int>() == plain["nodes"].get<int>() + 2);
  // The same metadata in both kinds of file; a string of a message is its length and its bytes.
  const auto text = [](const std::string& value) { return static_cast<char>(value.size()) + value; };
  const auto has = [&](const std::string& file, const std::string& key, const std::string& value) {
    return contains(read_file(dir / file), "\x0a" + text(key) + "\x12" + text(value));
  };
  check_ok(run_tacit({"export", shared_run(), "--out", dir / "a.safetensors", "--quiet"}));
  const auto metadata = read_safetensors(dir / "a.safetensors").metadata;
  for (const auto& entry : metadata) {
    CAPTURE(entry.first);
    CHECK(has("a", entry.first, entry.second) == (entry.first != "format"));
  }
  CHECK(has("a", "input", "(x - mean) / std of pixels x in 0...1"));
  CHECK(has("pixels.onnx", "input", "pixels in 0...1"));
  figures_of({vit_run(), "--out", dir / "vit.onnx"});
  CHECK(has("vit.onnx", "names", "timm"));
  const Outcome said = run_tacit({"export", shared_run(), "--out", dir / "b.onnx"});
  check_ok(said);
  CHECK(contains(said.out, "b.onnx: small_cnn, ONNX of operator set 17: image (N, 3, 16, 16)"));
  CHECK(contains(said.out, "features (N, 64)"));

  check_ok(run_tacit(
      tiny("byol", dir / "byol",
           {"--encoder", "small_cnn", "--encoder-width", "8", "--projector", "16,8", "--predictor", "16,8"})));
  figures_of({dir / "byol", "--out", dir / "online.onnx"});
  CHECK(figures_of({dir / "byol", "--out", dir / "teacher.onnx", "--teacher"})["teacher"] == true);
  check_ok(run_tacit({"export", dir / "byol", "--out", dir / "teacher.safetensors", "--teacher", "--quiet"}));
  for (const char* name : {"conv1.weight", "bn4.running_var"}) {
    const std::string bytes = bytes_of(read_safetensors(dir / "teacher.safetensors").tensors.at(name));
    CHECK(contains(read_file(dir / "teacher.onnx"), bytes));
    CHECK_FALSE(contains(read_file(dir / "online.onnx"), bytes));
  }
}

TEST_CASE("export to ONNX: what cannot be, and files in the way") {
  const TemporaryDirectory dir;
  const std::string out = dir / "x.onnx";
  check_error(run_tacit({"export", shared_run(), "--out", out, "--teacher"}), 2, "--teacher: simclr");
  check_error(run_tacit({"export", shared_run(), "--out", "/proc/no/x.onnx"}), 1, "--out");
  check_error(run_tacit({"export", dir / "none", "--out", out}), 1, "none");
  check_ok(run_tacit(tiny("colorization", dir / "gray", {"--encoder-width", "8"})));
  check_error(run_tacit({"export", dir / "gray", "--out", out, "--include-normalisation"}), 2,
              "--include-normalisation: the run's encoder sees the lightness");
  CHECK_FALSE(fs::exists(out));
  check_ok(run_tacit({"export", dir / "gray", "--out", out, "--quiet"}));
  CHECK(contains(read_file(out), "(L - 50) / 50 of CIE Lab"));
  // A file that cannot grow to its size leaves the old one.
  const std::string before = read_file(out);
  RunOptions small;
  small.largest_file = 4096;
  const Outcome full = run_tacit({"export", shared_run(), "--out", out, "--quiet"}, small);
  CHECK(full.status != 0);
  CHECK(read_file(out) == before);
}

TEST_CASE(
    "--init tells what fitted; another network's weights, nothing that fits and a mislabelled checkpoint are errors") {
  const TemporaryDirectory dir;
  const std::string weights = dir / "encoder.safetensors";
  check_ok(run_tacit({"export", shared_run(), "--out", weights, "--quiet"}));
  SafeTensors file = read_safetensors(weights);
  file.tensors["fc.weight"] = Tensor::zeros({10, 64});
  write_safetensors(weights, file);
  Arguments arguments = small_run(dir / "from", {"--steps", "1", "--init", weights});
  arguments.erase(std::find(arguments.begin(), arguments.end(), "--quiet"));
  const Outcome outcome = run_tacit(arguments);
  check_ok(outcome);
  CHECK(contains(outcome.err, "init        " + weights + ": 24 matched, 0 missing, 1 unexpected (fc.weight)\n"));
  std::filesystem::remove(weights);  // a resume has no use for it
  check_ok(run_tacit({"pretrain", "simclr", "--out", dir / "from", "--resume", "--steps", "2", "--quiet"}));

  check_error(run_tacit(tiny("simclr", dir / "other", with(kVit, {"--init", weights}))), 1, "--init");
  write_safetensors(dir / "foreign.safetensors", {.tensors = {{"module.x", Tensor::zeros({2})}}, .metadata = {}});
  check_error(run_tacit(small_run(dir / "none", {"--init", dir / "foreign.safetensors"})), 1,
              "none of its 1 names is of small_cnn");

  SafeTensors checkpoint = read_safetensors(shared_run() + "/checkpoints/last.safetensors");
  const auto extracted = checkpoint.tensors.extract("model.encoder.conv1.weight");
  REQUIRE_FALSE(extracted.empty());
  write_safetensors(dir / "lacking.safetensors", checkpoint);
  check_error(run_tacit({"knn", dir / "lacking.safetensors", "--data", "synthetic:60"}), 1,
              "lacking.safetensors: its weights are not those of simclr with small_cnn");
}
