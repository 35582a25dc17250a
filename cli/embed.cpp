// tacit embed RUN: features of every image as NumPy files.
#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli/feature.h"
#include "ssl/data/printable.h"
#include "tensor/atomic_file.h"
#include "tensor/counted.h"
#include "tensor/directory.h"
#include "tensor/npy.h"

namespace tacit::cli {

namespace {

class Embed final : public RunCommand {
 public:
  const char* name() const override { return "embed"; }
  const char* summary() const override { return "features of every image as NumPy files"; }
  const char* example() const override { return "  tacit embed run --data ~/photos --out features"; }
  void own_settings(Settings& settings) override {
    settings.group("Embedding")
        .add("split", &split_, "train, test, unlabeled or all")
        .add("out", &out_, "directory for features.npy, labels.npy and files.txt", ssl::Effect::Session);
    feature_.add(settings);
  }
  void check_own() const override {
    if (out_.empty()) throw UsageError("--out is required: the directory for the features");
    ssl::parse_split(split_);
  }
  int run_on(ssl::Pretrained& run) override {
    ssl::about_flag("out", [&] { check_directory(out_); });
    const std::string feature = feature_.chosen(run)[0];
    const ssl::ImageSourcePtr source = data_.open(ssl::parse_split(split_), common_);
    if (data_.limit > 0 && split_ == "test")
      say(common_, "--limit is not of the test split: it is embedded whole, " + counted(source->size(), "image"));
    check_memory(run, source->size() * run.method->encoder().features());
    const ssl::FeatureSet set = features(run, feature, *source);
    write_npy(with_directory(out_ + "/features.npy"), set.features);
    write_npy(out_ + "/labels.npy", Tensor::from(set.labels, {set.size()}));
    std::string files;
    bool any = false;
    for (int64_t i = 0; i < source->size(); ++i) {
      any = any || !source->file(i).empty();
      files += ssl::printable(source->file(i)) + "\n";
    }
    std::error_code ignored;
    if (any)
      write_file_atomically(out_ + "/files.txt", files);
    else
      std::filesystem::remove(out_ + "/files.txt", ignored);  // of other images
    print_result(common_, out_ + ": " + counted(set.size(), "image") + ", " + counted(set.dimensions(), "feature"));
    write_json(common_, {{"images", set.size()}, {"features", set.dimensions()}});
    return 0;
  }

 private:
  FeatureFlag feature_{false};
  std::string split_ = "all", out_;
};

}  // namespace

std::unique_ptr<Command> make_embed() { return std::make_unique<Embed>(); }

}  // namespace tacit::cli
