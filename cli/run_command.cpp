#include "cli/run_command.h"

#include <algorithm>
#include <filesystem>
#include <map>

#include "cli/progress.h"
#include "ssl/data/cache.h"
#include "ssl/data/overlap.h"
#include "ssl/train/check.h"
#include "ssl/train/memory.h"
#include "tensor/counted.h"

namespace tacit::cli {

void DataArguments::add(Settings& settings) {
  settings.group("Data")
      .add("data", &data, ssl::kDataHelp)
      .add("test-data", &test_data, "SPEC of the test split where the data has none")
      .add("limit", &limit, "only the first N images of a fixed shuffle (0: all); test splits stay whole")
      .add("no-labels", &no_labels, "ignore labels, and with them the class directories of a folder")
      .add("max-pixels", &max_pixels, "refuse larger images before decoding them")
      .add("max-damaged", &max_damaged, "fraction of unreadable images at which to stop; fewer are left out and named")
      .add("cache", &cache, "FILE or DIR that keeps decoded images, their shorter side 8/7 of the run's");
}

ssl::ImageSourcePtr DataArguments::open(ssl::Split split, const Common& common) const {
  std::vector<std::string> notes;
  const ssl::ImageSourcePtr opened = ssl::open_data(
      data, split, {.no_labels = no_labels, .limit = limit, .max_pixels = max_pixels, .test_data = test_data}, &notes);
  const bool keep = !cache.empty() && image_size > 0;
  ImagesProgress progress("cache", common.quiet);
  const ssl::ImageSourcePtr kept =
      keep ? ssl::cached(opened, cache, split, image_size, &notes, progress.callback()) : opened;
  progress.finish();
  const ssl::ImageSourcePtr source = ssl::without_damaged(kept, &notes, max_damaged);
  for (const std::string& note : notes)
    if (told_.insert(note).second) say(common, note);
  TACIT_CHECK(source->size() > 0, "--data ", data[0], " has no images in this split");
  return source;
}

ssl::ImageSourcePtr DataArguments::open_labelled(ssl::Split split, const Common& common) const {
  const ssl::ImageSourcePtr source = open(split, common);
  const std::vector<int64_t> labels = ssl::labels_of(*source);
  const auto unknown = std::count_if(labels.begin(), labels.end(), [](int64_t label) { return label < 0; });
  const bool test = split == ssl::Split::Test;
  TACIT_CHECK(test || unknown > 0 || ssl::count_classes(labels) > 1, "--data ", data[0], ": its ",
              counted(labels.size(), "training image"), " are all of one class; an accuracy needs at least two");
  TACIT_CHECK(unknown == 0, test && !test_data.empty() ? "--test-data " + test_data : "--data " + data[0], ": ",
              unknown, " of its ", counted(labels.size(), test ? "test image" : "training image"),
              unknown == 1 ? " has" : " have",
              " no label; this command needs labelled data, such as a folder with a directory a class");
  return source;
}

TrainAndTest DataArguments::open_train_and_test(const Common& common) const {
  const TrainAndTest data{open_labelled(ssl::Split::Train, common), open_labelled(ssl::Split::Test, common)};
  const std::string warning = ssl::overlap_warning(*data.train, *data.test);
  if (!warning.empty()) say(common, warning);
  return data;
}

void RunCommand::check() const {
  Command::check();
  ssl::check_specs("data", data_.data);
  if (!data_.test_data.empty()) ssl::check_specs("test-data", {data_.test_data});
  check_flag("limit", static_cast<double>(data_.limit), 0, 1e18);
  check_flag("max-pixels", static_cast<double>(data_.max_pixels), 1, 1e18);
  check_flag("max-damaged", data_.max_damaged, 0, 1);
  check_flag("seed", static_cast<double>(common_.seed), 0, 1e19);
  check_own();
}

int RunCommand::run() {
  if (needs_data() && data_.data.empty())
    throw UsageError("--data is required: a path, kind:path, fashion-mnist or synthetic[:N]");
  start(common_);
  ssl::Pretrained run = ssl::load_pretrained(run_path_);
  data_.image_size = run.views.image_size;
  return run_on(run);
}

void RunCommand::check_memory(const ssl::Pretrained& run, int64_t values) const {
  ssl::check_features_memory(run.method->encoder(), run.views, values, common_.memory_limit);
}

int64_t RunCommand::possible_k(int64_t k, int64_t train_images) const {
  if (k <= train_images) return k;
  TACIT_CHECK(!said("k"), "--k ", counted(k, "neighbour"), " cannot be found among ",
              counted(train_images, "training image"));
  say(common_, std::string(train_images == 1 ? "there is only " : "there are only ") +
                   counted(train_images, "training image") + ": --k is " + std::to_string(train_images));
  return train_images;
}

std::string RunCommand::beside_run(const std::string& file) const {
  namespace fs = std::filesystem;
  const fs::path run(run_path_);
  return (fs::is_directory(run) ? run / file : run.parent_path() / file).string();
}

ssl::ImageSourcePtr varied(const ssl::ImageSourcePtr& source, int64_t count) {
  std::map<int64_t, std::vector<int64_t>> rows;  // of each label
  const std::vector<int64_t> labels = ssl::labels_of(*source);
  for (size_t i = 0; i < labels.size(); ++i) rows[labels[i]].push_back(static_cast<int64_t>(i));
  const auto wanted = static_cast<size_t>(std::min(count, source->size()));
  std::vector<int64_t> chosen;
  for (size_t round = 0; chosen.size() < wanted; ++round)
    for (const auto& [label, images] : rows)
      if (round < images.size() && chosen.size() < wanted) chosen.push_back(images[round]);
  return ssl::subset(source, chosen);
}

void check_flag(const char* flag, double value, double low, double high) { ssl::check_range(flag, value, low, high); }

}  // namespace tacit::cli
