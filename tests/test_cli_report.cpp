// tacit report: one file with everything in it, text from data kept text, several runs, and what it is told to refuse.
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli.h"

using namespace tacit::testing;
namespace fs = std::filesystem;

namespace {

/// What the page's script reads.
nlohmann::json data_of(const std::string& page) {
  const std::string begin = "<script type=\"application/json\" id=\"data\">";
  const size_t at = page.find(begin), end = page.find("</script>", at);
  REQUIRE(at != std::string::npos);
  return nlohmann::json::parse(page.substr(at + begin.size(), end - at - begin.size()));
}

std::string decoded(const std::string& text) {
  std::string bytes;
  uint32_t word = 0;
  int bits = 0;
  for (const char c : text) {
    if (c == '=') break;
    const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    word = word << 6 | static_cast<uint32_t>(digits.find(c));
    if ((bits += 6) >= 8) bytes += static_cast<char>(word >> (bits -= 8) & 255);
  }
  return bytes;
}

std::string png_in(const nlohmann::json& source) {
  const std::string text = source, head = "data:image/png;base64,";
  REQUIRE(text.rfind(head, 0) == 0);
  return decoded(text.substr(head.size()));
}

size_t times(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

}  // namespace

TEST_CASE("report: curves, map, confusion matrix, pictures and settings in one file that loads nothing") {
  const TemporaryDirectory dir;
  const std::string run = dir / "run";
  fs::copy(shared_run(), run, fs::copy_options::recursive);
  fs::remove(run + "/evaluation.json");  // of another test
  const Outcome outcome = run_tacit({"report", run, "--images", "30", "--bank", "60"});
  check_ok(outcome);
  CHECK(contains(outcome.out, "run/report.html: 1 run"));
  const std::string page = read_file(run + "/report.html");
  CHECK(page.rfind("<!doctype html>", 0) == 0);
  CHECK(times(page, "http") == times(page, "http://www.w3.org/2000/svg"));  // a name, not an address
  CHECK(times(page, "<script") == times(page, "</script>"));
  CHECK_FALSE(contains(page, "@DATA@"));
  const nlohmann::json r = data_of(page)["runs"][0];
  CHECK(r["name"] == "run");
  CHECK(r["method"] == "simclr");
  CHECK(r["config"] == read_file(run + "/config.toml"));
  CHECK(png_in(r["pictures"][0]["src"]) == read_file(run + "/images/views.png"));
  CHECK(r["pictures"].size() == 2);  // and neighbours
  CHECK(r["evaluation"].is_null());
  const nlohmann::json& curves = r["curves"];
  REQUIRE(curves["loss"].size() == curves["epoch"].size());
  CHECK(curves["epoch"].back().get<double>() <= r["epochs"].get<double>());
  const nlohmann::json& map = r["map"];
  REQUIRE(map["x"].size() == map["label"].size());
  CHECK(map["x"].size() <= 30);
  CHECK(png_in(map["sprite"]).substr(1, 3) == "PNG");
  const nlohmann::json& confusion = r["confusion"];
  int64_t counted = 0, right = 0;
  for (size_t i = 0; i < confusion["counts"].size(); ++i)
    for (size_t j = 0; j < confusion["counts"].size(); ++j) {
      counted += confusion["counts"][i][j].get<int64_t>();
      if (i == j) right += confusion["counts"][i][j].get<int64_t>();
    }
  CHECK(counted == static_cast<int64_t>(map["x"].size()));
  CHECK(confusion["top1"] == doctest::Approx(static_cast<double>(right) / static_cast<double>(counted)));
  // The same run gives the same page.
  check_ok(run_tacit({"report", run, "--images", "30", "--bank", "60", "--out", dir / "again.html", "--quiet"}));
  CHECK(read_file(dir / "again.html") == page);
  // A figure that only evaluate knows appears when it has been asked.
  check_ok(run_tacit({"evaluate", run, "--data", "synthetic:200", "--quiet", "--supervised=false", "--labels-per-class",
                      "2", "--draws", "1"}));
  check_ok(run_tacit({"report", run, "--images", "0"}));
  const nlohmann::json judged = data_of(read_file(run + "/report.html"))["runs"][0];
  CHECK(judged["evaluation"]["label_efficiency"].size() == 3);
  CHECK_FALSE(judged.contains("map"));
}

TEST_CASE("report: names that are markup stay text") {
  const TemporaryDirectory dir;
  const std::string evil = "<img src=x onerror=alert(1)>";
  for (const std::string& name : {evil, std::string("b")}) {
    fs::create_directories(dir / "d/" + name);
    for (int i = 0; i < 12; ++i)
      write_file(dir / "d/" + name + "/" + std::to_string(i) + evil + ".ppm",
                 "P6\n8 8\n255\n" + std::string(8 * 8 * 3, static_cast<char>(20 * i + static_cast<int>(name.size()))));
  }
  check_ok(
      run_tacit({"report", shared_run(), "--data", "folder:" + (dir / "d"), "--out", dir / "page.html", "--quiet"}));
  const std::string page = read_file(dir / "page.html");
  CHECK_FALSE(contains(page, "<img"));
  const nlohmann::json map = data_of(page)["runs"][0]["map"];
  CHECK(map["classes"][0] == evil);
  CHECK(contains(map["files"][0].get<std::string>(), evil));
}

TEST_CASE("report: an evaluation of data that allows no linear probe") {
  const TemporaryDirectory dir;
  const std::string run = dir / "run";
  fs::copy(shared_run(), run, fs::copy_options::recursive);
  for (const char* split : {"train", "test"})
    for (int c = 0; c < 2; ++c)
      for (int i = 0; i < (c == 0 && split == std::string("train") ? 1 : 6); ++i) {
        const std::string at = dir / "d/" + split + "/" + std::to_string(c);
        fs::create_directories(at);
        write_file(at + "/" + std::to_string(i) + ".ppm",
                   "P6\n8 8\n255\n" + std::string(8 * 8 * 3, static_cast<char>(90 * c + 9 * i + (split[1] == 'e'))));
      }
  check_ok(run_tacit({"evaluate", run, "--data", "folder:" + (dir / "d"), "--quiet", "--supervised=false",
                      "--labels-per-class", "1", "--draws", "1"}));
  CHECK(nlohmann::json::parse(read_file(run + "/evaluation.json"))["linear"]["run"].is_null());
  check_ok(run_tacit({"report", run, "--images", "0"}));
  const nlohmann::json judged = data_of(read_file(run + "/report.html"))["runs"][0]["evaluation"];
  CHECK(judged["linear"]["run"].is_null());
  CHECK(judged["knn"]["run"].is_number());
}

TEST_CASE("report: an evaluation says what it is of, and a run that has gone on since is told") {
  const TemporaryDirectory dir;
  const std::string run = dir / "run";
  const Arguments evaluate =
                      {"evaluate", run,      "--quiet", "--supervised=false", "--labels-per-class", "2", "--draws",
                       "1",        "--seed", "3"},
                  report = {"report", run, "--images", "0"};
  const auto evaluated = [&] { return data_of(read_file(run + "/report.html"))["runs"][0]["evaluated"]; };
  check_ok(run_tacit({"pretrain",
                      "simclr",
                      "--data",
                      "synthetic:60",
                      "--image-size",
                      "16",
                      "--encoder",
                      "small_cnn",
                      "--encoder-width",
                      "8",
                      "--projector",
                      "16,8",
                      "--batch-size",
                      "8",
                      "--epochs",
                      "3",
                      "--out",
                      run,
                      "--quiet",
                      "--stop-after-epochs",
                      "1"}));
  check_ok(run_tacit(with(evaluate, {"--data", "synthetic:60", "--json", dir / "table.json"})));
  const nlohmann::json table = nlohmann::json::parse(read_file(run + "/evaluation.json"));
  CHECK(table == nlohmann::json::parse(read_file(dir / "table.json")));
  const int64_t step = table["step"];
  CHECK(table["data"] == nlohmann::json{"synthetic:60"});
  CHECK(table["seed"] == 3);
  CHECK(table["fingerprint"] != table["test_fingerprint"]);
  Outcome outcome = run_tacit(report);
  check_ok(outcome);
  const std::string at = "step " + std::to_string(step);
  CHECK(evaluated()["at"] == at + " of " + std::to_string(step) + ", synthetic:60, seed 3");
  CHECK(evaluated()["warnings"].empty());
  CHECK_FALSE(contains(outcome.err, "warning: "));

  check_ok(run_tacit({"pretrain", "simclr", "--out", run, "--resume", "--stop-after-epochs", "3"}));
  outcome = run_tacit(report);
  check_ok(outcome);
  CHECK(contains(evaluated()["at"].get<std::string>(), at + " of " + std::to_string(3 * step)));
  CHECK(evaluated()["stale"] == true);
  CHECK(contains(outcome.err, "warning: " + run + ": the evaluation is of " + at));

  check_ok(run_tacit(with(evaluate, {"--data", "synthetic:80"})));
  check_ok(run_tacit(report));
  CHECK(evaluated()["stale"] == false);
  REQUIRE(evaluated()["warnings"].size() == 1);
  CHECK(contains(evaluated()["warnings"][0].get<std::string>(), "other images"));

  nlohmann::json old = table;  // as an older tacit wrote it
  for (const char* key :
       {"step", "feature", "data", "test_data", "limit", "fingerprint", "test_fingerprint", "seed", "version"})
    CHECK(old.erase(key) == 1);
  write_file(run + "/evaluation.json", old.dump());
  check_ok(run_tacit(report));
  CHECK(evaluated()["at"] == "step unknown");
}

TEST_CASE("report: runs are named by what tells their paths apart, their baselines by encoder and images") {
  const TemporaryDirectory dir;
  for (const char* at : {"a", "b", "c"}) {
    const std::string run = dir / at + "/run";
    fs::create_directories(dir / at);
    check_ok(run_tacit({"pretrain",        "simclr",
                        "--data",          "synthetic:60",
                        "--image-size",    "16",
                        "--encoder",       "small_cnn",
                        "--encoder-width", at == std::string("c") ? "4" : "8",
                        "--projector",     "16,8",
                        "--batch-size",    "8",
                        "--epochs",        "1",
                        "--steps",         "1",
                        "--out",           run,
                        "--quiet"}));
    check_ok(run_tacit({"evaluate", run, "--data", "synthetic:60", "--quiet", "--supervised=false",
                        "--labels-per-class", "2", "--draws", "1"}));
  }
  fs::rename(dir / "c/run", dir / "c/other");
  check_ok(run_tacit(
      {"report", dir / "a/run", dir / "b/../b/run/", dir / "c/other", "--images", "0", "--out", dir / "page.html"}));
  const nlohmann::json runs = data_of(read_file(dir / "page.html"))["runs"];
  CHECK(runs[0]["name"] == "a/run");
  CHECK(runs[1]["name"] == "b/run");
  CHECK(runs[2]["name"] == "other");
  CHECK(runs[0]["evaluated"]["encoder"] == "small_cnn, width 8, 16 x 16 x 3");
  CHECK(runs[0]["evaluated"]["encoder"] == runs[1]["evaluated"]["encoder"]);
  CHECK(runs[0]["evaluated"]["encoder"] != runs[2]["evaluated"]["encoder"]);
  CHECK(runs[0]["evaluated"]["images"].is_string());
  CHECK(runs[0]["evaluated"]["images"] == runs[2]["evaluated"]["images"]);
}

TEST_CASE("report: the commands that made a run, as a shell takes them back, and what ran them") {
  const TemporaryDirectory dir;
  const std::string run = dir / "a run's \xc3\xa9\n";
  const Arguments made = small_run(run, {"--steps", "1"}),
                  resumed = {"pretrain", "simclr", "--out", run, "--resume", "--quiet", "--steps", "2"};
  check_ok(run_tacit(made));
  check_ok(run_tacit(resumed));
  check_ok(run_tacit({"report", run, "--images", "0", "--out", dir / "page.html"}));
  const nlohmann::json r = data_of(read_file(dir / "page.html"))["runs"][0];
  REQUIRE(r["commands"].size() == 2);
  CHECK(r["commands"][0]["step"] == 0);
  CHECK(r["commands"][1]["step"] == 1);
  const Outcome info = run_tacit({"info"});
  for (const char* key : {"version", "compiler", "instruction_set", "blas", "blas_core"})
    CHECK(contains(info.out, key + (": " + r["commands"][1][key].get<std::string>()) + "\n"));
  const auto words = [](const std::string& command) {
    return run_program({"/bin/bash", "-c", "printf '%s\\0' " + command}).out;
  };
  const auto typed = [](Arguments arguments) {
    arguments.insert(arguments.begin(), TACIT_BINARY_DIR "/bin/tacit");
    std::string text;
    for (const std::string& argument : arguments) text += argument + '\0';
    return text;
  };
  CHECK(words(r["commands"][0]["command"]) == typed(made));
  CHECK(words(r["commands"][1]["command"]) == typed(resumed));
  CHECK(contains(words(r["command"]), '\0' + run + "/config.toml" + '\0'));
  // A line that a full disk cut short, and a run of an older tacit.
  write_file(run + "/commands.jsonl", read_file(run + "/commands.jsonl") + "{\"step\": 2, \"comm");
  check_ok(run_tacit({"report", run, "--images", "0", "--out", dir / "page.html"}));
  CHECK(data_of(read_file(dir / "page.html"))["runs"][0]["commands"].size() == 2);
  fs::remove(run + "/commands.jsonl");
  check_ok(run_tacit({"report", run, "--images", "0", "--out", dir / "page.html"}));
  CHECK(data_of(read_file(dir / "page.html"))["runs"][0]["commands"].empty());
}

TEST_CASE("report: the loss is the one that pretrain ended with, of the last epoch's steps since the last resume") {
  const TemporaryDirectory dir;
  const std::string run = dir / "run", json = dir / "figures.json";
  Arguments flags = {"--steps", "13", "--json", json};  // 12 an epoch
  for (const int64_t steps : {1, 4, 2}) {
    check_ok(run_tacit(small_run(run, flags)));
    const nlohmann::json figures = nlohmann::json::parse(read_file(json));
    check_ok(run_tacit({"report", run, "--images", "0"}));
    const nlohmann::json r = data_of(read_file(run + "/report.html"))["runs"][0];
    CHECK(figures["loss_steps"] == steps);
    CHECK(r["loss_steps"] == steps);
    CHECK(r["loss"].get<double>() == doctest::Approx(figures["loss"].get<double>()).epsilon(1e-12));
    flags = {"--resume", "--steps", steps == 1 ? "17" : "19", "--json", json};
  }
  // A resume with nothing left to do makes no figure; the last one stays.
  check_ok(run_tacit(small_run(run, flags)));
  check_ok(run_tacit({"report", run, "--images", "0"}));
  CHECK(data_of(read_file(run + "/report.html"))["runs"][0]["loss_steps"] == 2);
}

TEST_CASE(
    "report: a last line of metrics.jsonl that was cut short is left out, and told; one in the middle is an error") {
  const TemporaryDirectory dir;
  const std::string run = dir / "run", file = run + "/metrics.jsonl";
  check_ok(run_tacit(small_run(run, {"--steps", "3"})));
  const std::string whole = read_file(file), last = whole.substr(whole.rfind('\n', whole.size() - 2) + 1);
  const Arguments report = {"report", run, "--images", "0"};
  const auto run_in_page = [&] { return data_of(read_file(run + "/report.html"))["runs"][0]; };
  Outcome outcome = run_tacit(report);
  check_ok(outcome);
  CHECK_FALSE(contains(outcome.err, "incomplete"));
  const nlohmann::json of_whole = run_in_page();
  CHECK(of_whole["loss_steps"] == 3);
  // Cut within the line, just before its end, and cut on a disk that lost what it held.
  for (const std::string& more :
       {std::string("{\"loss\": "), last.substr(0, last.size() - 1), std::string("\0\0\n", 3)}) {
    write_file(file, whole + more);
    outcome = run_tacit(report);
    check_ok(outcome);
    CHECK(contains(outcome.err, "warning: " + file + ": its last line, 4, is incomplete and left out"));
    CHECK(run_in_page() == of_whole);
  }
  write_file(file, "{\"st");
  check_ok(run_tacit(report));
  CHECK(run_in_page()["loss"].is_null());
  for (const char* bad : {"{\"loss\": \n", "\n", "{\"loss\": 1}\n"}) {
    write_file(file, last + bad + last);
    check_error(run_tacit(report), 1, "metrics.jsonl: line 2 is not a step of a run");
  }
}

TEST_CASE("report: above 40 classes no matrix, but the pairs most confused and the classes with the lowest accuracy") {
  const TemporaryDirectory dir;
  for (const char* split : {"train", "test"})
    for (int c = 0; c < 43; ++c)
      for (int i = 0; i < 3; ++i) {
        const std::string at = dir / "d/" + split + "/" + std::to_string(100 + c);
        fs::create_directories(at);
        write_file(at + "/" + std::to_string(i) + ".ppm",
                   "P6\n8 8\n255\n" + std::string(8 * 8 * 3, static_cast<char>(5 * c + i + (split[1] == 'e' ? 3 : 0))));
      }
  check_ok(run_tacit({"report", shared_run(), "--data", "folder:" + (dir / "d"), "--out", dir / "page.html"}));
  const nlohmann::json confusion = data_of(read_file(dir / "page.html"))["runs"][0]["confusion"];
  CHECK_FALSE(confusion.contains("counts"));
  CHECK(confusion["class_count"] == 43);
  CHECK(confusion["lowest"].size() == 40);
  CHECK(confusion["pairs"].size() == std::min<size_t>(40, confusion["pair_count"].get<size_t>()));
  const double wrong = (1 - confusion["top1"].get<double>()) * confusion["images"].get<double>();
  double confused = 0, before = 1e9, lower = -1;
  for (const nlohmann::json& pair : confusion["pairs"]) {
    CHECK(pair["is"] != pair["taken_for"]);
    CHECK(pair["of"] == 3);
    CHECK(pair["images"].get<double>() <= before);
    before = pair["images"];
    confused += before;
  }
  CHECK(confused > 0);
  if (confusion["pair_count"] <= 40) CHECK(confused == doctest::Approx(wrong));
  for (const nlohmann::json& one : confusion["lowest"]) {
    const double accuracy = one["right"].get<double>() / one["of"].get<double>();
    CHECK(accuracy >= lower);
    lower = accuracy;
  }
}

TEST_CASE("report: its memory is that of the images there are, and its remedy one that helps") {
  const TemporaryDirectory dir;
  const Arguments report = {"report", shared_run(), "--data", "synthetic:200", "--out", dir / "page.html"};
  check_ok(run_tacit(with(report, {"--bank", "500000000"})));
  CHECK(data_of(read_file(dir / "page.html"))["runs"][0].contains("map"));
  const Outcome refused = run_tacit(with(report, {"--memory-limit", "10M"}));
  check_error(refused, 1, "--bank");
  CHECK_FALSE(contains(refused.err, "--limit for"));
}

TEST_CASE("report: several runs, a run whose data is gone, and mistakes") {
  const TemporaryDirectory dir;
  const std::string run = dir / "a";
  fs::copy(shared_run(), run, fs::copy_options::recursive);
  check_ok(run_tacit({"report", run, shared_run(), "--images", "0", "--out", dir / "new/both.html"}));
  CHECK(data_of(read_file(dir / "new/both.html"))["runs"].size() == 2);
  check_error(run_tacit({"report", run, shared_run()}), 2, "--out is required");
  check_error(run_tacit({"report"}), 2, "run");
  check_error(run_tacit({"report", run, "--images", "-1"}), 2, "--images");
  check_error(run_tacit({"report", dir / "none"}), 1, "none");
  check_error(run_tacit({"report", run + "/checkpoints/last.safetensors"}), 1, "not a run directory");
  check_error(run_tacit({"report", run, "--data", "folder:" + (dir / "none")}), 1, "none");

  // The data is gone: a warning, and a page without it.
  std::string config = read_file(run + "/config.toml");
  const size_t at = config.find("'synthetic");
  REQUIRE(at != std::string::npos);
  config.replace(at, config.find('\'', at + 1) - at + 1, "'folder:" + (dir / "moved") + "'");
  write_file(run + "/config.toml", config);
  const Outcome gone = run_tacit({"report", run});
  check_ok(gone);
  CHECK(contains(gone.err, "warning: "));
  CHECK(contains(gone.err, "moved"));
  CHECK_FALSE(data_of(read_file(run + "/report.html"))["runs"][0].contains("map"));

  write_file(run + "/evaluation.json", "{\"label_efficiency\": [{\"mean\": 1}], \"knn\": 5}");
  check_error(run_tacit({"report", run, "--images", "0"}), 1, "evaluation.json is not what tacit evaluate wrote");
}
