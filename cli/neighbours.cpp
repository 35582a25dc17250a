// tacit neighbours RUN: the most similar images, as a picture.
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli/run_command.h"
#include "ssl/data/printable.h"
#include "ssl/evaluate/knn.h"
#include "ssl/train/picture.h"
#include "tensor/counted.h"
#include "tensor/directory.h"

namespace tacit::cli {

namespace {

class NeighboursCommand final : public RunCommand {
 public:
  const char* name() const override { return "neighbours"; }
  const char* summary() const override { return "the most similar images, as a picture"; }
  const char* example() const override {
    return "  tacit neighbours run --data fashion-mnist --out neighbours.png\n"
           "  tacit neighbours run --data ~/photos --query ~/photos/cat.jpg --out similar.png";
  }
  void own_settings(Settings& settings) override {
    settings.group("Neighbours")
        .add("query", &queries_, "image files, or directories of them (default: test images)")
        .many("query")
        .add("queries", &count_, "test images to show without --query, of different classes where there are labels")
        .add("k", &k_, "neighbours of each")
        .add("split", &split_,
             "images to search: train, test, unlabeled or all (default: all with --query, else train)")
        .add("out", &out_, "the PNG to write", ssl::Effect::Session)
        .used_if(
            "", "queries", [this] { return queries_.empty(); },
            "--queries is a number of test images to take; with --query the images are given");
  }
  void check_own() const override {
    check_png("out", out_);
    ssl::check_specs("query", queries_);
    if (!split_.empty()) ssl::parse_split(split_);
    check_flag("k", static_cast<double>(k_), 1, 100);
    check_flag("queries", static_cast<double>(count_), 1, 1000);
  }
  int run_on(ssl::Pretrained& run) override {
    check_writable("out", out_);
    const ssl::ImageSourcePtr bank = data_.open(searched(), common_);
    ssl::ImageSourcePtr queries;
    if (queries_.empty())
      queries = varied(data_.open(ssl::Split::Test, common_), count_);
    else
      queries = ssl::about_flag("query", [&] { return open_queries(); });
    const int64_t k = possible_k(k_, bank->size());
    nn::Encoder& encoder = run.method->encoder();
    const int64_t size = run.views.image_size, most = ssl::ContactSheet::most_rows(k + 1, size);
    TACIT_CHECK(queries->size() <= most, queries_.empty() ? "--queries" : "--query", ": ", queries->size(),
                " images are too many for one picture of ", k, " neighbours each at ", size, " pixels; the most is ",
                most, " with this --k");
    constexpr int64_t kTile = 56 * 56;  // the least that is drawn of an image
    const int64_t drawn = queries->size() * (k + 1) * std::max(size * size, kTile);
    check_memory(run, (bank->size() + queries->size()) * encoder.features() + 3 * drawn / 4);
    const ssl::FeatureSet features = ssl::encoder_features(encoder, *bank, run.views);
    const ssl::Neighbours found = ssl::nearest(ssl::encoder_features(encoder, *queries, run.views).features,
                                               features.features, std::min(k + 1, bank->size()));
    std::vector<int64_t> rows;
    std::vector<std::vector<int64_t>> lists;
    nlohmann::json answers = nlohmann::json::array();
    for (int64_t q = 0; q < queries->size(); ++q) {
      rows.push_back(q);
      lists.emplace_back();
      nlohmann::json near = nlohmann::json::array();
      const std::string query = canonical(queries->file(q));
      for (int64_t i = q * found.k; i < (q + 1) * found.k && near.size() < static_cast<size_t>(k); ++i) {
        const int64_t index = found.index[static_cast<size_t>(i)];
        const float similarity = found.similarity[static_cast<size_t>(i)];
        const std::string file = bank->file(index);
        if (!query.empty() && canonical(file) == query) continue;  // no image is its own neighbour
        lists.back().push_back(index);
        near.push_back({{"index", index}, {"similarity", similarity}});
        if (file.empty()) continue;
        near.back()["file"] = file;
        print_result(common_,
                     ssl::printable(queries->file(q)) + "\t" + ssl::printable(file) + "\t" + ssl::shortest(similarity));
      }
      answers.push_back({{"query", queries->file(q)}, {"neighbours", near}});
    }
    ssl::neighbours_sheet(*queries, rows, *bank, lists, run.views.image_size).write_png(with_directory(out_));
    say(common_, out_ + ": " + counted(rows.size(), "image") +
                     (rows.size() == 1 ? " and its neighbours" : " and their neighbours"));
    write_json(common_, {{"k", k}, {"queries", answers}});
    return 0;
  }

 private:
  /// Damaged images are left out, as of other data; an image named alone is meant, and an error.
  ssl::ImageSourcePtr open_queries() const {
    std::vector<std::string> notes;
    const ssl::ImageSourcePtr opened =
        ssl::open_data(queries_, ssl::Split::All,
                       {.no_labels = true, .limit = 0, .max_pixels = data_.max_pixels, .test_data = ""}, &notes);
    const bool single = opened->size() == static_cast<int64_t>(queries_.size());
    const ssl::ImageSourcePtr queries = single ? opened : ssl::without_damaged(opened, &notes, data_.max_damaged);
    for (const std::string& note : notes) say(common_, note);
    TACIT_CHECK(queries->size() > 0, "no image of them can be read");
    return queries;
  }
  /// A file's one name, whatever path leads to it; "" of none.
  static std::string canonical(const std::string& file) {
    return file.empty() ? "" : std::filesystem::weakly_canonical(file).string();
  }

  ssl::Split searched() const {
    if (split_.empty()) return queries_.empty() ? ssl::Split::Train : ssl::Split::All;
    return ssl::parse_split(split_);
  }

  std::vector<std::string> queries_;
  std::string split_;
  int64_t count_ = 10, k_ = 9;
  std::string out_;
};

}  // namespace

std::unique_ptr<Command> make_neighbours() { return std::make_unique<NeighboursCommand>(); }

}  // namespace tacit::cli
