// tacit report RUN…: a page with everything that there is to see of a run, or of several side by side.
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli/report/gather.h"
#include "cli/report/names.h"
#include "report_page.h"
#include "ssl/train/memory.h"
#include "tensor/atomic_file.h"
#include "tensor/counted.h"
#include "tensor/directory.h"

namespace tacit::cli {

namespace {

class Report final : public Command {
 public:
  const char* name() const override { return "report"; }
  const char* summary() const override { return "a page with curves, tables and pictures of runs, for any browser"; }
  const char* example() const override {
    return "  tacit report run                                # run/report.html\n"
           "  tacit report runs/a runs/b --out compared.html";
  }
  std::vector<Positional> arguments() override { return {{"run", "RUN…", "run directories", nullptr, true, &runs_}}; }
  void settings(Settings& settings) override {
    data_.add(settings);
    settings.group("Report")
        .add("images", &samples_.images,
             "test images on the map of the features and in the confusion matrix; 0: no data is opened")
        .add("bank", &samples_.bank, "training images among which neighbours are found and from which the probe learns")
        .add("out", &out_, "the page to write", ssl::Effect::Session);
    settings.show_default("out", "RUN/report.html");
    settings.show_default("data", "the run's own");
    add_common(settings);
  }
  void check() const override {
    Command::check();
    if (runs_.size() > 1 && out_.empty())
      throw UsageError("--out is required for several runs: the page to write, such as compared.html");
    if (!data_.data.empty()) ssl::check_specs("data", data_.data);
    if (!data_.test_data.empty()) ssl::check_specs("test-data", {data_.test_data});
    check_flag("limit", static_cast<double>(data_.limit), 0, 1e18);
    check_flag("max-pixels", static_cast<double>(data_.max_pixels), 1, 1e18);
    check_flag("max-damaged", data_.max_damaged, 0, 1);
    check_flag("images", static_cast<double>(samples_.images), 0, 20000);
    check_flag("bank", static_cast<double>(samples_.bank), 1, 1e9);
    check_flag("seed", static_cast<double>(common_.seed), 0, 1e19);
  }
  int run() override {
    start(common_);
    for (const std::string& path : runs_)
      TACIT_CHECK(std::filesystem::is_directory(path), path,
                  " is not a run directory; a report is made of what a run left there");
    const std::string out = out_.empty() ? runs_[0] + "/report.html" : out_;
    check_writable("out", out);
    samples_.seed = static_cast<uint64_t>(common_.seed);
    nlohmann::json data = {{"version", TACIT_VERSION}, {"runs", nlohmann::json::array()}};
    const std::vector<std::string> names = distinguishing_names(runs_);
    for (size_t i = 0; i < runs_.size(); ++i) data["runs"].push_back(gather(runs_[i], names[i]));
    const std::string page = kReportPage, place = "@DATA@";
    const size_t at = page.find(place);
    write_file_atomically(with_directory(out), page.substr(0, at) + html_safe(data) + page.substr(at + place.size()));
    print_result(common_, out + ": " + counted(runs_.size(), "run"));
    write_json(common_, data);
    return 0;
  }

 private:
  nlohmann::json gather(const std::string& path, const std::string& run_name) {
    ssl::Pretrained run = ssl::load_pretrained(path);
    nlohmann::json gathered = gather_run(path, run_name, run, [&](const std::string& line) { say(common_, line); });
    if (const nlohmann::json& evaluated = gathered["evaluated"]; !evaluated.is_null() && evaluated["stale"])
      say(common_, "warning: " + path + ": " + evaluated["warnings"][0].get<std::string>());
    if (samples_.images == 0) return gathered;
    const bool own = data_.data.empty();
    try {
      DataArguments data = data_;
      if (own) take_data_of(path, data);
      data.image_size = run.views.image_size;
      say(common_, path + ": features of its images");
      const ssl::ImageSourcePtr train = data.open(ssl::Split::Train, common_),
                                test = data.open(ssl::Split::Test, common_);
      const int64_t images = std::min(samples_.bank, train->size()) + std::min(samples_.images, test->size());
      ssl::check_features_memory(run.method->encoder(), run.views, images * run.method->encoder().features(),
                                 common_.memory_limit, "--bank or --images for fewer images");
      gather_samples(gathered, run, train, test, samples_);
    } catch (const Error& e) {
      if (!own) throw;  // it was asked for
      say(common_, "warning: " + path + ": the report has no pictures of its images: " + e.what());
    }
    return gathered;
  }

  /// The data that the run was trained on.
  static void take_data_of(const std::string& path, DataArguments& data) {
    const ssl::TrainConfig config = ssl::resolve_resume(path, {});
    data.data = config.data;
    data.test_data = config.test_data;
    data.no_labels = config.no_labels;
    data.max_pixels = config.max_pixels;
    data.max_damaged = config.max_damaged;
  }

  std::vector<std::string> runs_;
  std::string out_;
  DataArguments data_;
  SampleOptions samples_;
};

}  // namespace

std::unique_ptr<Command> make_report() { return std::make_unique<Report>(); }

}  // namespace tacit::cli
