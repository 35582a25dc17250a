#include "cli/report/gather.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "cli/provenance.h"
#include "cli/report/confusion.h"
#include "cli/report/evaluation.h"
#include "ssl/evaluate/knn.h"
#include "ssl/evaluate/linear.h"
#include "ssl/evaluate/pca.h"
#include "tensor/ops.h"
#include "tensor/read_file.h"

namespace tacit::cli {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr size_t kPoints = 400;        // of a curve
constexpr int64_t kMapThumbnail = 32;  // the largest side of an image on the map
constexpr int64_t kSpriteColumns = 32;
constexpr int64_t kQueries = 10, kNeighbours = 9, kReconstructions = 8;

/// Keys of metrics.jsonl that become curves.
constexpr const char* kCurves[] = {"loss", "chance_loss", "lr", "feature_std", "pretext_top1", "images_per_second"};

/// metrics.jsonl by columns; NaN where a line lacks a number. A long run has a million lines. A last line that a crash
/// or a full disk cut short is left out, as a resume cuts it off.
class Metrics {
 public:
  Metrics(const std::string& file, const Say& say) {
    std::ifstream text(file);
    for (std::string line; std::getline(text, line); ++lines_) {
      const json parsed = json::parse(line, nullptr, false);
      const bool whole = !text.eof(),  // its end of line is there
          step = parsed.is_object() && parsed.contains("step") && parsed["step"].is_number();
      if (!whole || (!step && text.peek() == std::ifstream::traits_type::eof())) {
        say("warning: " + file + ": its last line, " + std::to_string(lines_ + 1) + ", is incomplete and left out");
        break;
      }
      TACIT_CHECK(step, file, ": line ", lines_ + 1, " is not a step of a run");
      for (const auto& [key, value] : parsed.items()) {
        if (!value.is_number()) continue;
        std::vector<double>& column = columns_[key];
        column.resize(lines_, std::nan(""));
        column.push_back(value.get<double>());
      }
    }
    for (auto& entry : columns_) entry.second.resize(lines_, std::nan(""));
  }

  size_t lines() const { return lines_; }
  bool has(const char* key) const { return columns_.count(key) > 0; }
  double at(const char* key, size_t line) const { return columns_.at(key)[line]; }
  /// Over lines [begin, end); null where none of them has it.
  json mean(size_t begin, size_t end, const char* key) const {
    double sum = 0;
    size_t count = 0;
    for (size_t i = begin; has(key) && i < end; ++i)
      if (const double value = at(key, i); !std::isnan(value)) sum += value, ++count;
    return count > 0 ? json(sum / static_cast<double>(count)) : json();
  }

 private:
  std::map<std::string, std::vector<double>> columns_;
  size_t lines_ = 0;
};

/// The first line of those that pretrain's own figure of the loss is a mean of (StepRecord::mean_loss): the last
/// epoch's, made by the last process that made any.
size_t last_epoch_begin(const Metrics& metrics, const json& commands) {
  if (metrics.lines() == 0 || !metrics.has("epoch")) return 0;
  size_t begin = metrics.lines() - 1;
  const double epoch = metrics.at("epoch", begin), step = metrics.at("step", begin);
  double resumed = 0;
  for (const json& command : commands)
    if (command.contains("step") && command["step"].is_number() && command["step"].get<double>() < step)
      resumed = command["step"].get<double>();
  while (begin > 0 && metrics.at("epoch", begin - 1) == epoch && metrics.at("step", begin - 1) > resumed) --begin;
  return begin;
}

json curves_of(const Metrics& metrics, int64_t steps_per_epoch) {
  json curves = {{"epoch", json::array()}};
  const size_t group = (metrics.lines() + kPoints - 1) / kPoints;
  for (size_t begin = 0; begin < metrics.lines(); begin += group) {
    const size_t end = std::min(begin + group, metrics.lines());
    curves["epoch"].push_back(metrics.mean(begin, end, "step").get<double>() / static_cast<double>(steps_per_epoch));
    for (const char* key : kCurves)
      if (metrics.has(key)) curves[key].push_back(metrics.mean(begin, end, key));
  }
  return curves;
}

json picture(const std::string& title, const std::string& png) {
  return {{"title", title}, {"src", "data:image/png;base64," + base64(png)}};
}

/// Pictures that other commands left in the run, under titles where their names are known.
json saved_pictures(const std::string& directory) {
  const std::vector<std::pair<std::string, std::string>> titles = {
      {"views.png", "What the method sees: an image, then views of it"}};
  json pictures = json::array();
  for (const auto& [file, title] : titles)
    if (fs::exists(directory + "/" + file)) pictures.push_back(picture(title, read_file(directory + "/" + file)));
  return pictures;
}

ssl::ImageSourcePtr some(const ssl::ImageSourcePtr& source, int64_t count) {
  return source->size() <= count ? source : varied(source, count);
}

json class_names(const ssl::ImageSource& source, const std::vector<int64_t>& labels) {
  json names = json::array();
  for (const std::string& name : source.class_names()) names.push_back(name);
  int64_t classes = 0;
  for (const int64_t label : labels) classes = std::max(classes, label + 1);
  for (int64_t c = static_cast<int64_t>(names.size()); c < classes; ++c) names.push_back(std::to_string(c));
  return names;
}

/// All images side by side, kSpriteColumns in a row: the page shows parts of it.
std::string sprite(const Tensor& pixels, int64_t side, int64_t channels) {
  const int64_t count = pixels.size(0), rows = (count + kSpriteColumns - 1) / kSpriteColumns;
  const int64_t width = kSpriteColumns * side, height = rows * side;
  std::vector<uint8_t> rgb(static_cast<size_t>(width * height * 3), 255);
  const std::vector<float> values = pixels.to_vector<float>();
  for (int64_t i = 0; i < count; ++i)
    for (int64_t y = 0; y < side; ++y)
      for (int64_t x = 0; x < side; ++x)
        for (int64_t c = 0; c < 3; ++c) {
          const int64_t from = ((i * side + y) * side + x) * channels + (channels == 3 ? c : 0);
          const int64_t row = i / kSpriteColumns * side + y, column = i % kSpriteColumns * side + x;
          rgb[static_cast<size_t>((row * width + column) * 3 + c)] =
              static_cast<uint8_t>(std::lround(std::clamp(values[static_cast<size_t>(from)], 0.f, 1.f) * 255));
        }
  return ssl::png_of(rgb, width, height);
}

json feature_map(const ssl::FeatureSet& set, const ssl::ImageSource& images, const ssl::PlainViews& views) {
  const ssl::Pca pca = ssl::principal_components(set.features, 2);
  const std::vector<double> points = pca.project(set.features).to_vector<double>();
  ssl::PlainViews small = views;
  small.normalisation = {};
  small.image_size = std::min(views.image_size, kMapThumbnail);
  json map = {{"x", json::array()},         {"y", json::array()},
              {"label", set.labels},        {"classes", class_names(images, set.labels)},
              {"explained", pca.explained}, {"tile", small.image_size},
              {"columns", kSpriteColumns}};
  bool files = false;
  for (int64_t i = 0; i < set.size(); ++i) {
    map["x"].push_back(points[static_cast<size_t>(2 * i)]);
    map["y"].push_back(points[static_cast<size_t>(2 * i + 1)]);
    files = files || !images.file(i).empty();
  }
  for (int64_t i = 0; files && i < set.size(); ++i)
    map["files"].push_back(fs::path(images.file(i)).filename().string());
  const std::string png = sprite(ssl::pixel_features(images, small).features, small.image_size, small.channels);
  map["sprite"] = "data:image/png;base64," + base64(png);
  return map;
}

json neighbours_picture(ssl::Pretrained& run, const ssl::FeatureSet& bank_features, const ssl::ImageSourcePtr& bank,
                        const ssl::ImageSourcePtr& test) {
  const ssl::ImageSourcePtr queries = varied(test, kQueries);
  const ssl::FeatureSet asked = ssl::encoder_features(run.method->encoder(), *queries, run.views);
  const ssl::Neighbours found =
      ssl::nearest(asked.features, bank_features.features, std::min(kNeighbours, bank_features.size()));
  std::vector<int64_t> rows;
  std::vector<std::vector<int64_t>> lists;
  for (int64_t q = 0; q < queries->size(); ++q) {
    rows.push_back(q);
    lists.emplace_back(found.index.begin() + q * found.k, found.index.begin() + (q + 1) * found.k);
  }
  return picture("Test images and their nearest neighbours among " + std::to_string(bank->size()) + " training images",
                 ssl::neighbours_sheet(*queries, rows, *bank, lists, run.views.image_size).png());
}

/// null where the method predicts no pixels.
json reconstruction_picture(ssl::Pretrained& run, const ssl::ImageSourcePtr& test, uint64_t seed) {
  const ssl::ImageSourcePtr images = varied(test, kReconstructions);
  const std::vector<ssl::PictureColumn> columns = ssl::reconstruction(*run.method, *images, run.method_views, seed);
  if (columns.empty()) return {};
  std::string title = "Test images:";
  for (const ssl::PictureColumn& column : columns) title += (title.back() == ':' ? " " : ", ") + column.name;
  return picture(title, ssl::columns_sheet(columns, run.method_views.normalisation).png());
}

bool labelled(const ssl::FeatureSet& set) {
  return std::all_of(set.labels.begin(), set.labels.end(), [](int64_t label) { return label >= 0; }) &&
         ssl::count_classes(set.labels) > 1;
}

json confusion_matrix(const ssl::FeatureSet& train, const ssl::FeatureSet& test, const ssl::ImageSource& images,
                      uint64_t seed) {
  ssl::LinearProbeOptions options;
  options.seed = seed;
  const ssl::LinearProbeResult probe = ssl::linear_probe(train, test, options);
  std::vector<int64_t> all = train.labels;
  all.insert(all.end(), test.labels.begin(), test.labels.end());
  json matrix = confusion(class_names(images, all), test.labels, probe.predictions);
  matrix.update({{"top1", probe.top1}, {"images", test.size()}, {"train_images", train.size()}});
  return matrix;
}

}  // namespace

std::string base64(const std::string& bytes) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t count = std::min<size_t>(3, bytes.size() - i);
    uint32_t word = 0;
    for (size_t b = 0; b < 3; ++b) word = word << 8 | (b < count ? static_cast<uint8_t>(bytes[i + b]) : 0);
    for (size_t d = 0; d < 4; ++d) text += d <= count ? kDigits[word >> (18 - 6 * d) & 63] : '=';
  }
  return text;
}

std::string html_safe(const json& value) {
  const std::string text = json_text(value, -1);
  std::string safe;
  safe.reserve(text.size());
  for (const char c : text) {
    if (c == '<')  // only strings hold any
      safe += "\\u003c";
    else
      safe += c;
  }
  return safe;
}

json gather_run(const std::string& path, const std::string& name, ssl::Pretrained& run, const Say& say) {
  const ssl::CheckpointInfo& info = run.info;
  const Metrics metrics(path + "/metrics.jsonl", say);
  const std::string config = read_file(path + "/config.toml");
  const double epochs = static_cast<double>(info.step) / static_cast<double>(info.steps_per_epoch);
  const json commands = recorded_commands(path);
  const size_t lines = metrics.lines(), loss_begin = last_epoch_begin(metrics, commands);
  // The last tenth of an epoch's steps, at least ten: one step's speed is noise.
  const size_t last = std::min(lines, std::max<size_t>(10, static_cast<size_t>(info.steps_per_epoch) / 10));
  json knn = {{"epoch", json::array()}, {"top1", json::array()}};
  for (size_t i = 0; metrics.has("knn_top1") && i < lines; ++i) {
    const double top1 = metrics.at("knn_top1", i);
    if (std::isnan(top1)) continue;
    knn["epoch"].push_back(metrics.at("step", i) / static_cast<double>(info.steps_per_epoch));
    knn["top1"].push_back(top1);
  }
  const json evaluation = read_evaluation(path);
  const int64_t parameters = run.method->encoder().parameter_count();
  return {{"name", name},
          {"what", info.config.method + " of " + info.config.encoder + " on " + std::to_string(info.images) +
                       " images, " + std::to_string(info.step) + " steps"},
          {"method", info.config.method},
          {"encoder", info.config.encoder},
          {"parameters", parameters},
          {"images", info.images},
          {"epochs", epochs},
          {"loss", metrics.mean(loss_begin, lines, "loss")},
          {"loss_steps", lines - loss_begin},
          {"chance", metrics.mean(loss_begin, lines, "chance_loss")},
          {"images_per_second", metrics.mean(lines - last, lines, "images_per_second")},
          {"curves", curves_of(metrics, info.steps_per_epoch)},
          {"knn", knn},
          {"evaluation", evaluation},
          {"evaluated", evaluated(evaluation, info)},
          {"pictures", saved_pictures(path + "/images")},
          {"commands", commands},
          {"command", shell_line({"tacit", "pretrain", info.config.method, "--config", path + "/config.toml", "--out",
                                  "NEW_RUN"})},
          {"config", config}};
}

void gather_samples(json& out, ssl::Pretrained& run, const ssl::ImageSourcePtr& train, const ssl::ImageSourcePtr& test,
                    const SampleOptions& options) {
  const ssl::ImageSourcePtr shown = some(test, options.images), bank = some(train, options.bank);
  nn::Encoder& encoder = run.method->encoder();
  const ssl::FeatureSet shown_features = ssl::encoder_features(encoder, *shown, run.views);
  const ssl::FeatureSet bank_features = ssl::encoder_features(encoder, *bank, run.views);
  if (shown->size() >= 2 && shown_features.dimensions() >= 2)
    out["map"] = feature_map(shown_features, *shown, run.views);
  out["pictures"].push_back(neighbours_picture(run, bank_features, bank, test));
  if (const json made = reconstruction_picture(run, test, options.seed); !made.is_null())
    out["pictures"].push_back(made);
  if (!labelled(bank_features) || !labelled(shown_features)) return;
  const int64_t classes = ssl::check_labelled(bank_features.labels, "the training split");
  if (ssl::smallest_class(bank_features.labels, classes).second >= 2)
    out["confusion"] = confusion_matrix(bank_features, shown_features, *shown, options.seed);
}

}  // namespace tacit::cli
