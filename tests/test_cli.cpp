// The command `tacit` as its users meet it: exit codes, messages, names in --json, bad input.
#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli.h"
#include "tensor/device.h"

using namespace tacit::testing;
namespace fs = std::filesystem;

TEST_CASE("help: every command has one, with an example") {
  const Outcome all = run_tacit({"--help"});
  check_ok(all);
  for (const char* command : {"pretrain", "knn", "linear", "finetune", "evaluate", "embed", "neighbours", "duplicates",
                              "reconstruct", "augment", "export", "info", "bench", "completion", "man"}) {
    CAPTURE(command);
    CHECK(contains(all.out, command));
    const Outcome one = run_tacit({command, "--help"});
    check_ok(one);
    CHECK(contains(one.out, "Example:"));
    CHECK(contains(one.out, std::string("tacit ") + command));
  }
}

TEST_CASE("exit 2: what flags alone can decide, before any work") {
  const TemporaryDirectory dir;
  const std::string out = dir / "run";
  check_error(run_tacit({}), 2, "subcommand");
  check_error(run_tacit({"pretrian"}), 2, "pretrian");
  check_error(run_tacit(small_run(out, {"--batch_size", "16"})), 2, "--batch_size");
  check_error(run_tacit(small_run(out, {"--encoder", "resnet19"})), 2, "given 2 times");
  check_error(run_tacit({"pretrain", "simclr", "--data", "synthetic", "--out", out, "--encoder", "resnet19"}), 2,
              "resnet50");
  check_error(run_tacit({"pretrain", "simclr", "--data", "synthetic", "--out", out, "--batch-size", "1"}), 2,
              "--batch-size 1");
  check_error(run_tacit({"pretrain", "simclr", "--data", "synthetic", "--out", out, "--batch-size", "-3"}), 2,
              "--batch-size");
  check_error(run_tacit({"pretrain", "simclr", "--data", "synthetic", "--out", out, "--lr", "1", "--base-lr", "1"}), 2,
              "--base-lr");
  check_error(
      run_tacit({"pretrain", "simclr", "--data", "synthetic", "--out", out, "--device", "cpu", "--precision", "bf16"}),
      2, "bf16 needs a GPU");
  check_error(run_tacit({"pretrain", "simclr", "--data", "synthetic", "--out", out, "--memory-limit", "much"}), 2,
              "--memory-limit");
  check_error(run_tacit({"pretrain", "simclr", "--out", out}), 2, "--data");
  check_error(run_tacit({"pretrain", "simclr", "--data", "synthetic"}), 2, "--out");
  check_error(run_tacit({"pretrain", "simclr", "--resume"}), 2, "--out");
  check_error(run_tacit({"pretrain", "simsiam", "--data", "synthetic", "--out", out}), 2, "unknown method");
  check_error(run_tacit({"knn", "run"}), 2, "--data");
  check_error(run_tacit({"export", "run", "--out", dir / "x", "--format", "pickle"}), 2, "torchvision");
  check_error(run_tacit({"export", "run", "--out", dir / "x", "--include-normalisation"}), 2, "of --format onnx");
  check_error(
      run_tacit({"export", "run", "--out", dir / "x.safetensors", "--format", "timm", "--include-normalisation"}), 2,
      "of --format onnx");
  CHECK_FALSE(fs::exists(out));
}

TEST_CASE("devices: an unknown one, an index out of range (2), CUDA without CUDA or a GPU (1)") {
  const TemporaryDirectory dir;
  check_error(run_tacit(small_run(dir / "a", {"--device", "tpu"})), 2, "tpu");
  check_error(run_tacit(small_run(dir / "a", {"--device", "cpu:1"})), 2, "cpu:1");
  check_error(run_tacit(small_run(dir / "a", {"--device", "cuda:x"})), 2, "device number");
  if (tacit::best_device() == "cuda")
    check_error(run_tacit(small_run(dir / "a", {"--device", "cuda:99"})), 2, "no GPU number 99");
  else
    check_error(run_tacit(small_run(dir / "a", {"--device", "cuda"})), 1, "use --device cpu");
}

TEST_CASE("a run records the device that was chosen for it, so that a resume elsewhere does not change it") {
  CHECK(contains(read_file(shared_run() + "/config.toml"), "device = '" + tacit::best_device() + "'"));
}

TEST_CASE("existing run: refused without --resume, and left as it was") {
  const std::string before = read_file(shared_run() + "/metrics.jsonl");
  check_error(run_tacit(small_run(shared_run())), 2, "--resume");
  CHECK(read_file(shared_run() + "/metrics.jsonl") == before);
}

TEST_CASE("a file where a directory should be") {
  const TemporaryDirectory dir;
  write_file(dir / "file", "x");
  check_error(run_tacit(small_run(dir / "file")), 1, "is a file");
  check_error(run_tacit(small_run(dir / "file/run")), 1, "directory");
  check_error(run_tacit(on_run("embed", {"--out", dir / "file"})), 1, "file");
  fs::create_directory(dir / "d");
  check_error(run_tacit(on_run("knn", {"--json", dir / "d"})), 1, "directory");
  CHECK(read_file(dir / "file") == "x");
}

TEST_CASE("data: missing, of no known kind, corrupt gz, fewer images than a batch") {
  const TemporaryDirectory dir;
  const auto run = [&](const std::string& data, const Arguments& more = {}) {
    return run_tacit(with({"pretrain", "simclr", "--data", data, "--out", dir / "run", "--quiet"}, more));
  };
  check_error(run(dir / "nothing"), 1, "nothing");
  check_error(run("idx:" + (dir / "nothing")), 1, "nothing");
  fs::create_directory(dir / "empty");
  check_error(run("folder:" + (dir / "empty")), 1, "empty");
  fs::create_directory(dir / "idx");
  for (const char* name : {"train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz",
                           "t10k-labels-idx1-ubyte.gz"})
    write_file(dir / "idx/" + name, "\x1f\x8b\x08 this is no gzip");
  check_error(run("idx:" + (dir / "idx")), 1, "ubyte");
  check_error(run("synthetic:20", {"--batch-size", "64"}), 1, "--batch-size 64");
  CHECK_FALSE(fs::exists(dir / "run"));
}

TEST_CASE("damaged and non-image files in a folder are named and replaced; too many of them stop the run") {
  const TemporaryDirectory dir;
  fs::create_directories(dir / "few");
  fs::create_directories(dir / "many");
  const std::string header = "P6\n16 16\n255\n";
  for (int i = 0; i < 120; ++i) {
    std::string pixels(16 * 16 * 3, '\0');
    for (size_t p = 0; p < pixels.size(); ++p) pixels[p] = static_cast<char>((p * static_cast<size_t>(i + 3)) % 251);
    write_file(dir / "few/" + std::to_string(i) + ".ppm", header + pixels);
    write_file(dir / "many/" + std::to_string(i) + ".ppm", i % 4 == 0 ? header + "short" : header + pixels);
  }
  write_file(dir / "few/7.ppm", header + "short");
  write_file(dir / "few/notes.txt", "not an image");
  const auto run = [&](const std::string& data, const std::string& out) {
    return run_tacit({"pretrain", "simclr", "--data", "folder:" + data, "--split", "all", "--out", out, "--image-size",
                      "16", "--encoder-width", "4", "--batch-size", "16", "--epochs", "2"});
  };
  const Outcome few = run(dir / "few", dir / "a");
  check_ok(few);
  CHECK(contains(few.err, "7.ppm"));
  CHECK(contains(few.err, "warning: 1 of 120 files is damaged and replaced by the next ones: "));
  check_error(run(dir / "many", dir / "b"), 1, "--max-damaged");
  CHECK_FALSE(fs::exists(dir / "b"));  // seen before there was anything to keep

  // Evaluation leaves such a file out and says so; in a data set with too many it stops.
  const Outcome embedded =
      run_tacit({"embed", dir / "a", "--data", "folder:" + (dir / "few"), "--out", dir / "features"});
  check_ok(embedded);
  CHECK(contains(embedded.err, "left out"));
  CHECK(contains(embedded.err, "7.ppm"));
  CHECK(contains(embedded.out, "119 images"));
  std::ifstream files(dir / "features/files.txt");
  int64_t lines = 0;
  for (std::string line; std::getline(files, line); ++lines) CHECK_FALSE(contains(line, "/7.ppm"));
  CHECK(lines == 119);
  check_error(run_tacit({"embed", dir / "a", "--data", "folder:" + (dir / "many"), "--out", dir / "none"}), 1,
              "30 of 120 images cannot be read, more than 1 %");
  check_error(run_tacit({"embed", dir / "a", "--data", "folder:" + (dir / "many"), "--out", dir / "none"}), 1,
              "(it ends before its last pixel) and 25 more; mend or remove such files");
}

TEST_CASE("memory: refused with a word on how to shrink") {
  const TemporaryDirectory dir;
  check_error(run_tacit(small_run(dir / "run", {"--memory-limit", "1M"})), 1, "--memory-limit");
  CHECK_FALSE(fs::exists(dir / "run"));
}

TEST_CASE("memory: every command knows the limit; a malformed one is exit 2 before any work") {
  const TemporaryDirectory dir;
  const std::string out = dir / "out";
  const std::vector<Arguments> commands = {on_run("finetune", {}),
                                           on_run("evaluate", {}),
                                           on_run("knn", {}),
                                           on_run("embed", {"--out", out}),
                                           {"export", shared_run(), "--out", out},
                                           {"augment", "simclr", "--data", "synthetic:50", "--out", out}};
  for (const Arguments& command : commands) {
    CAPTURE(command[0]);
    check_error(run_tacit(with(command, {"--memory-limit", "much"})), 2, "--memory-limit");
    check_error(run_tacit(with(command, {"--memory-limit", "1K"})), 1, "limit");
    CHECK_FALSE(fs::exists(out));
  }
  check_error(run_tacit(on_run("finetune", {"--memory-limit", "1M"})), 1, "--batch-size");
}

TEST_CASE("progress on a terminal: one refreshed line that never wraps") {
  const TemporaryDirectory dir;
  for (const unsigned short columns : {200, 80, 40, 12}) {
    CAPTURE(columns);
    Arguments arguments = small_run(dir / std::to_string(columns), {"--eval-every", "1"});
    arguments.erase(std::find(arguments.begin(), arguments.end(), "--quiet"));
    RunOptions options;
    options.columns = columns;
    const Outcome outcome = run_tacit(arguments, options);
    check_ok(outcome);
    int lines = 0;
    const std::string refresh = "\r\033[K";
    for (size_t at = outcome.err.find(refresh); at != std::string::npos; ++lines) {
      const size_t from = at + refresh.size();
      at = outcome.err.find(refresh, from);
      const std::string line = outcome.err.substr(from, outcome.err.find_first_of("\r\n", from) - from);
      CAPTURE(line);
      CHECK(line.size() < columns);
      CHECK((columns < 80 || contains(line, "loss ")));  // narrower ones keep an evaluation first
      if (columns == 200 && contains(line, "kNN "))
        for (const char* part :
             {"epoch ", "step ", "chance ", "task ", "std ", "images/s", "left ", "loader ", "linear "})
          CHECK(contains(line, part));
    }
    CHECK(lines >= 5);  // the evaluations'
  }
}

TEST_CASE("augment knows only the flags that make views; a run's config.toml is taken whole") {
  const TemporaryDirectory dir;
  const Arguments augment = {"augment", "simclr", "--data", "synthetic:50", "--out", dir / "views.png"};
  for (const Arguments& flag :
       {Arguments{"--resume"}, {"--epochs", "3"}, {"--lr", "1"}, {"--steps", "3"}, {"--init", "x"}})
    check_error(run_tacit(with(augment, flag)), 2, "unknown flag " + flag[0]);
  check_ok(run_tacit(with(augment, {"--config", shared_run() + "/config.toml", "--seed", "3", "--threads", "1"})));
}

TEST_CASE("evaluate on a run that cannot be written to: the table comes, and a warning") {
  const TemporaryDirectory dir;
  fs::copy_file(shared_run() + "/checkpoints/last.safetensors", dir / "model.safetensors");
  const Arguments evaluate = {
      "evaluate", dir / "model.safetensors", "--data", "synthetic:200", "--quiet", "--k",
      "5",        "--labels-per-class",      "2",      "--draws",       "1",       "--supervised=false"};
  fs::create_directory(dir / "label_draws.json");
  const Outcome refused = run_tacit(evaluate);
  check_ok(refused);
  CHECK(contains(refused.err, "warning: "));
  CHECK(contains(refused.err, "label_draws.json"));
  CHECK(contains(refused.out, "kNN"));
  fs::remove(dir / "label_draws.json");
  check_ok(run_tacit(evaluate));
  CHECK(contains(read_file(dir / "label_draws.json"), "indices"));  // beside the checkpoint, which is RUN here
  CHECK(contains(read_file(dir / "evaluation.json"), "label_efficiency"));
}

TEST_CASE("embed leaves no list of files that belongs to other images") {
  const TemporaryDirectory dir;
  fs::create_directory(dir / "out");
  write_file(dir / "out/files.txt", "old.png\n");
  check_ok(run_tacit(on_run("embed", {"--out", dir / "out"})));
  CHECK_FALSE(fs::exists(dir / "out/files.txt"));
}

TEST_CASE("paths that are no UTF-8 come through --json as U+FFFD") {
  const TemporaryDirectory dir;
  fs::create_directory(dir / "d");
  for (int i = 0; i < 12; ++i) {
    std::string pixels(8 * 8 * 3, '\0');
    for (size_t p = 0; p < pixels.size(); ++p) pixels[p] = static_cast<char>((p * static_cast<size_t>(i + 3)) % 251);
    write_file(dir / "d/\xff" + std::to_string(i) + ".ppm", "P6\n8 8\n255\n" + pixels);
  }
  const Outcome outcome = run_tacit({"neighbours", shared_run(), "--data", "folder:" + (dir / "d"), "--k", "3",
                                     "--quiet", "--out", dir / "near.png", "--json", "-"});
  check_ok(outcome);
  CHECK(contains(outcome.out, "\xef\xbf\xbd"));
  CHECK(nlohmann::json::parse(outcome.out)["k"] == 3);
  check_error(run_tacit({"neighbours", shared_run(), "--data", "folder:" + (dir / "d"), "--k", "50", "--out",
                         dir / "near.png"}),
              1, "--k 50");
}

TEST_CASE("json: the names of every command's figures") {
  const TemporaryDirectory dir;
  const auto figures = [&](const Arguments& arguments) {
    const Outcome outcome = run_tacit(with(arguments, {"--json", "-"}));
    check_ok(outcome);
    return nlohmann::json::parse(outcome.out);
  };
  const nlohmann::json knn = figures(on_run("knn", {"--k", "5"}));
  for (const char* name : {"top1", "k", "temperature", "train_images", "test_images"}) CHECK(knn.contains(name));
  CHECK(knn["k"] == 5);
  CHECK(knn["top1"].get<double>() > 0.1);  // ten classes
  const nlohmann::json linear = figures(on_run("linear", {"--epochs", "5"}));
  for (const char* name : {"top1", "best_lr", "sweep"}) CHECK(linear.contains(name));
  for (const char* name : {"lr", "validation_top1"}) CHECK(linear["sweep"][0].contains(name));
  const nlohmann::json tuned = figures(on_run("finetune", {"--min-steps", "20", "--epochs", "1"}));
  for (const char* name : {"top1", "epochs", "from_scratch"}) CHECK(tuned.contains(name));
  CHECK(tuned["from_scratch"] == false);
  CHECK(figures(on_run("finetune", {"--min-steps", "20", "--epochs", "1", "--from-scratch", "--labels-per-class",
                                    "2"}))["from_scratch"] == true);

  const nlohmann::json table = figures(on_run(
      "evaluate", {"--labels-per-class", "2", "--draws", "2", "--min-steps", "10", "--with-finetuning", "--k", "5"}));
  for (const char* part : {"knn", "linear"})
    for (const char* row : {"pixels", "random", "run"}) CHECK(table[part].contains(row));
  std::vector<std::string> methods;
  for (const auto& row : table["label_efficiency"]) {
    for (const char* name : {"labels_per_class", "method", "mean", "std", "draws"}) CHECK(row.contains(name));
    methods.push_back(row["method"]);
  }
  for (const char* method : {"pixels", "random", "supervised", "run", "finetuned"})
    CHECK(std::find(methods.begin(), methods.end(), method) != methods.end());
  CHECK(fs::exists(shared_run() + "/label_draws.json"));

  const Outcome to_file = run_tacit(on_run("knn", {"--json", dir / "knn.json"}));
  check_ok(to_file);
  CHECK(contains(to_file.out, "%"));
  CHECK(nlohmann::json::parse(read_file(dir / "knn.json")).contains("top1"));
}

TEST_CASE("bench: a row for each kernel and step, the same in text and figures") {
  const Outcome outcome = run_tacit({"bench", "--seconds", "0", "--only", "product", "--json", "-", "--threads", "1"});
  check_ok(outcome);
  const nlohmann::json json = nlohmann::json::parse(outcome.out);
  CHECK(json["threads"] == 1);
  REQUIRE(json["rows"].size() == 2);
  CHECK(json["rows"][0]["name"] == "product 1024 x 1024 x 1024");
  CHECK(json["rows"][0]["unit"] == "GFLOP/s");
  CHECK(json["rows"][0]["rate"].get<double>() ==
        doctest::Approx(2 * 1.024 * 1.024 * 1.024 / json["rows"][0]["seconds"].get<double>()));
  const Outcome text = run_tacit({"bench", "--seconds", "0", "--only", "SimCLR step, small_cnn"});
  check_ok(text);
  CHECK(contains(text.out, "images/s"));
  check_error(run_tacit({"bench", "--only", "nothing"}), 2, "copy of 128 MB");
  check_error(run_tacit({"bench", "--seconds", "-1"}), 2, "--seconds");
}

TEST_CASE("duplicates: files that hold the same picture, with their names, as text, figures and a picture") {
  const TemporaryDirectory dir;
  fs::create_directory(dir / "d");
  for (int i = 0; i < 8; ++i) {
    std::string pixels(16 * 16 * 3, '\0');
    for (size_t p = 0; p < pixels.size(); ++p)
      pixels[p] = static_cast<char>((p * p + static_cast<size_t>(i) * 37) * (p + static_cast<size_t>(i)) % 251);
    for (const std::string& name : i == 3 ? std::vector<std::string>{"a.ppm", "z.ppm"}
                                          : std::vector<std::string>{"m" + std::to_string(i) + ".ppm"})
      write_file(dir / "d/" + name, "P6\n16 16\n255\n" + pixels);
  }
  const auto find = [&](std::vector<std::string> more) {
    std::vector<std::string> all = {"duplicates", shared_run(), "--data", "folder:" + (dir / "d")};
    all.insert(all.end(), more.begin(), more.end());
    return run_tacit(all);
  };
  const Outcome text = find({"--threshold", "0.99", "--out", dir / "p/same.png"});
  check_ok(text);
  CHECK(contains(text.out, "1\t"));
  CHECK(contains(text.out, "a.ppm\n"));
  CHECK(contains(text.out, "z.ppm\n"));
  CHECK(contains(text.err, "2 images of 9 in 1 group"));
  CHECK(read_file(dir / "p/same.png").substr(1, 3) == "PNG");
  const Outcome figures = find({"--threshold", "0.99", "--json", "-"});
  check_ok(figures);
  const nlohmann::json json = nlohmann::json::parse(figures.out);
  CHECK(json["images"] == 9);
  REQUIRE(json["groups"].size() == 1);
  CHECK(json["groups"][0][0]["index"] == 0);
  CHECK(contains(json["groups"][0][1]["file"].get<std::string>(), "z.ppm"));
  const Outcome none = find({"--threshold", "1", "--split", "train", "--limit", "1"});
  check_ok(none);
  CHECK(none.out.empty());
  check_error(find({"--threshold", "1.5"}), 2, "--threshold");
  check_error(find({"--split", "some"}), 2, "--split");
}

TEST_CASE("embed, export, augment, neighbours, info write what they say") {
  const TemporaryDirectory dir;
  check_ok(run_tacit(on_run("embed", {"--out", dir / "features"})));
  CHECK(read_file(dir / "features/features.npy").substr(1, 5) == "NUMPY");
  CHECK(read_file(dir / "features/labels.npy").substr(1, 5) == "NUMPY");
  check_ok(run_tacit({"export", shared_run() + "/checkpoints/last.safetensors", "--out", dir / "encoder.safetensors"}));
  const Outcome file = run_tacit({"info", dir / "encoder.safetensors"});
  check_ok(file);
  CHECK(contains(file.out, "conv1.weight"));
  CHECK_FALSE(contains(file.out, "projector"));
  check_ok(
      run_tacit({"augment", "simclr", "--data", "synthetic:50", "--image-size", "16", "--out", dir / "views.png"}));
  CHECK(read_file(dir / "views.png").substr(1, 3) == "PNG");
  check_ok(run_tacit(on_run("neighbours", {"--out", dir / "near.png"})));
  CHECK(read_file(dir / "near.png").substr(1, 3) == "PNG");
  const Outcome machine = run_tacit({"info"});
  check_ok(machine);
  for (const char* part : {"version", "devices", "instruction_set", "blas: ", "blas_core", "threads", "memory_limit"})
    CHECK(contains(machine.out, part));
  const Outcome run = run_tacit({"info", shared_run()});
  check_ok(run);
  CHECK(contains(run.out, "step"));
  check_error(run_tacit({"info", dir / "nothing"}), 1, "nothing");
}

TEST_CASE("knn by the projection; unlabelled data is a clear error") {
  const Outcome outcome = run_tacit(on_run("knn", {"--feature", "projection", "--json", "-"}));
  check_ok(outcome);
  CHECK(contains(outcome.out, "top1"));
  const TemporaryDirectory dir;
  fs::create_directories(dir / "flat");
  for (int i = 0; i < 20; ++i) write_file(dir / "flat/" + std::to_string(i) + ".ppm", "P6\n1 1\n255\nabc");
  check_error(run_tacit({"knn", shared_run(), "--data", "folder:" + (dir / "flat"), "--k", "1"}), 1, "label");
}

TEST_CASE("an unreadable run, a checkpoint of a newer format") {
  const TemporaryDirectory dir;
  check_error(run_tacit({"knn", dir / "none", "--data", "synthetic:50"}), 1, "none");
  const std::string path = shared_run() + "/checkpoints/last.safetensors";
  std::string bytes = read_file(path);
  const std::string key = "\"tacit_checkpoint_format\":\"1\"";
  REQUIRE(contains(bytes, key));
  bytes[bytes.find(key) + key.size() - 2] = '7';
  write_file(dir / "newer.safetensors", bytes);
  check_error(run_tacit({"knn", dir / "newer.safetensors", "--data", "synthetic:50"}), 1, "format 7");
  fs::copy(shared_run(), dir / "flipped", fs::copy_options::recursive);
  const std::string flipped = dir / "flipped/checkpoints/last.safetensors";
  const std::string good = read_file(flipped);
  write_file(flipped, good.substr(0, good.size() - 9) + "ninebytes");
  for (const Arguments& command : {Arguments{"knn", dir / "flipped", "--data", "synthetic:50"},
                                   Arguments{"export", dir / "flipped", "--out", dir / "x"},
                                   Arguments{"pretrain", "simclr", "--out", dir / "flipped", "--resume"},
                                   small_run(dir / "run", {"--init", flipped})})
    check_error(run_tacit(command), 1, flipped + ": its data is damaged");
  write_file(dir / "half.safetensors", bytes.substr(0, bytes.size() / 2));
  check_error(run_tacit({"knn", dir / "half.safetensors", "--data", "synthetic:50"}), 1, "half.safetensors");
}

TEST_CASE("NaN: stops, names the step, keeps the last good checkpoint") {
  const TemporaryDirectory dir;
  check_error(run_tacit(small_run(dir / "run", {"--optimizer", "sgd", "--lr", "1e30", "--warmup-epochs", "0"})), 1,
              "at step ");
  check_ok(run_tacit({"knn", dir / "run", "--data", "synthetic:100", "--k", "5"}));
}

TEST_CASE("stdout that cannot be written is an error, not a crash") {
  if (!fs::exists("/dev/full")) {
    std::printf("skipped: stdout that cannot be written: there is no /dev/full\n");
    return;
  }
  const Outcome outcome = run_program(
      {"/bin/sh", "-c",
       std::string(TACIT_BINARY_DIR "/bin/tacit knn ") + shared_run() + " --data synthetic:100 --k 5 > /dev/full"});
  CHECK(outcome.status == 1);
  CHECK(contains(outcome.err, "error: cannot write to stdout"));
}
