// tacit duplicates RUN: near-identical images of a data set.
#include "ssl/evaluate/duplicates.h"

#include <nlohmann/json.hpp>

#include "cli/run_command.h"
#include "ssl/data/printable.h"
#include "ssl/evaluate/features.h"
#include "ssl/train/picture.h"
#include "tensor/counted.h"
#include "tensor/directory.h"

namespace tacit::cli {

namespace {

/// The side of the thumbnails that are compared.
constexpr int64_t kThumbnail = 32;
/// Groups in the picture, and images of one.
constexpr size_t kShownGroups = 30, kShownImages = 10;

class DuplicatesCommand final : public RunCommand {
 public:
  const char* name() const override { return "duplicates"; }
  const char* summary() const override { return "near-identical images, copies within and across splits"; }
  const char* example() const override {
    return "  tacit duplicates run --data ~/photos --out duplicates.png\n"
           "  tacit duplicates run --data cifar10:data --threshold 0.95 --json duplicates.json";
  }
  void own_settings(Settings& settings) override {
    settings.group("Duplicates")
        .add("split", &split_,
             "train, test, unlabeled or all: across splits, so that test images in training data show")
        .add("threshold", &threshold_,
             "correlation of the pixels (at most 32 x 32, or mirrored) from which images count as the same")
        .add("k", &k_, "images with the nearest features that each is compared with")
        .add("out", &out_, "a PNG of the groups (the first " + std::to_string(kShownGroups) + ")",
             ssl::Effect::Session);
  }
  void check_own() const override {
    if (!out_.empty()) check_png("out", out_);
    ssl::parse_split(split_);
    check_flag("threshold", threshold_, -1, 1);
    check_flag("k", static_cast<double>(k_), 1, 1000);
  }
  int run_on(ssl::Pretrained& run) override {
    if (!out_.empty()) check_writable("out", out_);
    const ssl::ImageSourcePtr source = data_.open(ssl::parse_split(split_), common_);
    nn::Encoder& encoder = run.method->encoder();
    ssl::PlainViews small = run.views;
    small.normalisation = {};
    small.image_size = std::min(small.image_size, kThumbnail);
    const int64_t side = small.image_size, pixels = side * side * small.channels;
    check_memory(run, source->size() * (encoder.features() + 2 * pixels));
    const Tensor thumbnails = ssl::pixel_features(*source, small).features;
    const std::vector<ssl::DuplicateGroup> groups =
        ssl::duplicates(ssl::encoder_features(encoder, *source, run.views).features,
                        thumbnails.reshape({source->size(), side, side, small.channels}), threshold_, k_);
    int64_t images = 0;
    nlohmann::json lists = nlohmann::json::array();
    for (const ssl::DuplicateGroup& group : groups) {
      images += static_cast<int64_t>(group.images.size());
      lists.push_back(nlohmann::json::array());
      for (size_t i = 0; i < group.images.size(); ++i) {
        const int64_t index = group.images[i];
        const std::string file = source->file(index);
        print_result(common_, std::to_string(lists.size()) + "\t" + ssl::shortest(group.similarity[i]) + "\t" +
                                  (file.empty() ? "image " + std::to_string(index) : ssl::printable(file)));
        lists.back().push_back({{"index", index}, {"similarity", group.similarity[i]}});
        if (!file.empty()) lists.back().back()["file"] = file;
      }
    }
    say(common_, groups.empty() ? "no two of " + counted(source->size(), "image") + " are that similar"
                                : counted(images, "image") + " of " + std::to_string(source->size()) + " in " +
                                      counted(groups.size(), "group"));
    if (!out_.empty() && !groups.empty()) draw(groups, *source, run.views.image_size);
    write_json(common_, {{"threshold", threshold_}, {"images", source->size()}, {"groups", lists}});
    return 0;
  }

 private:
  void draw(const std::vector<ssl::DuplicateGroup>& groups, const ssl::ImageSource& source, int64_t size) const {
    std::vector<int64_t> firsts;
    std::vector<std::vector<int64_t>> others;
    for (size_t g = 0; g < std::min(groups.size(), kShownGroups); ++g) {
      const std::vector<int64_t>& all = groups[g].images;
      firsts.push_back(all[0]);
      others.emplace_back(all.begin() + 1, all.begin() + static_cast<int64_t>(std::min(all.size(), kShownImages)));
    }
    ssl::neighbours_sheet(source, firsts, source, others, size).write_png(with_directory(out_));
    say(common_, out_ + ": " + counted(firsts.size(), "group"));
  }

  std::string split_ = "all", out_;
  double threshold_ = 0.98;
  int64_t k_ = 10;
};

}  // namespace

std::unique_ptr<Command> make_duplicates() { return std::make_unique<DuplicatesCommand>(); }

}  // namespace tacit::cli
