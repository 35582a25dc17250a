#include "ssl/train/import.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <sstream>

#include "ssl/train/build.h"
#include "ssl/train/export.h"
#include "ssl/train/fitting_flags.h"
#include "ssl/train/method_entry.h"
#include "ssl/train/resize_positions.h"
#include "tensor/join.h"
#include "tensor/safetensors.h"

namespace tacit::ssl {

namespace {

constexpr size_t kFirstNames = 5;  // in an error

/// () for more dimensions than tacit has.
Shape shape_of(const SafeTensorsEntry& entry) {
  return entry.shape.size() <= static_cast<size_t>(kMaxRank) ? Shape(entry.shape) : Shape{};
}

/// A file's tensors: their names at once, their values when asked for.
class WeightsFile {
 public:
  explicit WeightsFile(const std::string& path) : path_(path), listed_(safetensors_entries(path, &metadata_)) {
    if (!metadata_.count("tacit_checkpoint_format")) return;
    // The model's own names hold the encoder once or twice; the export knows which.
    Pretrained run = load_pretrained(path);
    const std::string& encoder = run.info.config.encoder;
    checkpoint_ = exported_tensors(run, nn::is_vit(encoder) ? "mae" : default_export_format(encoder), false);
  }

  std::vector<std::string> names() const {
    std::vector<std::string> names;
    if (checkpoint_)
      for (const auto& tensor : *checkpoint_) names.push_back(tensor.first);
    else
      for (const auto& tensor : listed_) names.push_back(tensor.first);
    return names;
  }
  Shape shape(const std::string& name) const {
    return checkpoint_ ? checkpoint_->at(name).shape() : shape_of(listed_.at(name));
  }
  /// As the format calls it: "F16".
  std::string dtype(const std::string& name) const { return checkpoint_ ? "F32" : listed_.at(name).dtype; }
  nn::StateDict read(const std::set<std::string>& names) const {
    if (checkpoint_) return *checkpoint_;
    return read_safetensors(path_, [&](const std::string& name) { return names.count(name) > 0; }).tensors;
  }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  std::string path_;
  std::map<std::string, std::string> metadata_;
  std::map<std::string, SafeTensorsEntry> listed_;
  std::optional<nn::StateDict> checkpoint_;  // of a tacit checkpoint: the encoder, and MAE's decoder
};

class Import {
 public:
  Import(Method& method, const TrainConfig& config)
      : method_(method), config_(config), file_(config.init), content_(file_), encoder_(method.encoder()) {}

  ImportReport run() {
    match();
    const nn::StateDict decoder = read_decoder();
    const nn::StateDict encoder = read_encoder();
    check_finite(file_, encoder);
    check_finite(file_, decoder);
    nn::load_state(encoder_, encoder, false);
    if (!decoder.empty()) nn::load_state(method_, decoder, false);
    method_.encoder_replaced();
    note_dtypes();
    note_normalisation();
    return report_;
  }

 private:
  void match() {
    std::vector<std::string> mine;
    for (const auto& [name, tensor] : nn::file_views(encoder_)) mine.push_back(name);
    const std::vector<std::string> theirs = content_.names();
    NameMatch& names = report_.names = match_names(theirs, mine);
    if (names.matched.empty()) {  // perhaps of another kind of encoder
      names = match_names(theirs, {std::begin(kFirstWeights), std::end(kFirstWeights)});
      const std::string flags = names.matched.empty() ? "" : fitting_flags(config_, shapes());
      TACIT_CHECK(flags.empty(), file_, ": none of its ", theirs.size(), " names is of ", config_.encoder,
                  "; it fits with ", flags);
      detail::fail(file_, ": none of its ", theirs.size(), " names is of ", config_.encoder, "; the file's begin with ",
                   first_of(theirs, kFirstNames), ", the encoder's with ", first_of(mine, kFirstNames));
    }
    std::vector<std::string> missing;
    for (const std::string& name : names.missing)
      if (!is_bookkeeping(name)) missing.push_back(name);
    TACIT_CHECK(missing.empty(), file_, " lacks ", missing.size(), " of ", config_.encoder,
                "'s tensors: ", first_of(missing, kFirstNames), "; ", remedy());
    const std::vector<std::string> foreign = foreign_parts(names, mine);
    TACIT_CHECK(foreign.empty(), file_, " is of another network than ", config_.encoder, ", which lacks ",
                first_of(foreign, kFirstNames), "; ", remedy());
  }

  /// Of the tensors behind the prefix, under the encoder's names where it has them.
  TensorShapes shapes() const {
    TensorShapes shapes;
    for (const auto* names : {&report_.names.matched, &report_.names.unexpected})
      for (const auto& [own, theirs] : *names) shapes[own] = content_.shape(theirs);
    return shapes;
  }

  std::string remedy() const {
    const TensorShapes file = shapes();
    const auto first = file.find("conv1.weight");
    if (method_entry(config_.method).lightness && first != file.end() && first->second.rank() == 4 &&
        first->second[1] != 1)
      return config_.method + " shows its encoder one channel, the lightness, the file's sees " +
             std::to_string(first->second[1]);
    const std::string flags = fitting_flags(config_, file);
    return flags.empty() ? "no --encoder of this version has just the file's" : "it fits with " + flags;
  }

  /// A tensor of the file as a member of the model takes it: its dtype, and positions of its size.
  Tensor fitted(const std::string& name, const Tensor& theirs, const Tensor& mine) {
    TACIT_CHECK(is_floating(theirs.dtype()) || !is_floating(mine.dtype()), file_, ": ", name, " is ", theirs.dtype(),
                ", no floating-point numbers; are the weights quantised? Convert them to f32 before");
    const Tensor t = theirs.to(mine.dtype());
    if (t.shape() == mine.shape()) return t;
    const int64_t from = position_grid(t.shape()), to = position_grid(mine.shape());
    TACIT_CHECK(resizable(name, t.shape(), mine.shape()), file_, ": ", name, " is ", t.shape(), ", that of ",
                config_.encoder, " here is ", mine.shape(), "; ", remedy());
    report_.notes.push_back(name + " resized from " + std::to_string(from) + " x " + std::to_string(from) + " to " +
                            std::to_string(to) + " x " + std::to_string(to) + " patches");
    return resized_positions(t, to);
  }

  static bool resizable(const std::string& name, const Shape& theirs, const Shape& mine) {
    return (name == "pos_embed" || name == "decoder_pos_embed") && position_grid(theirs) > 0 &&
           position_grid(mine) > 0 && theirs[2] == mine[2];
  }

  nn::StateDict read_encoder() {
    std::set<std::string> wanted;
    for (const auto& name : report_.names.matched) wanted.insert(name.second);
    const nn::StateDict theirs = content_.read(wanted);
    nn::StateDict state;
    for (const auto& [name, mine] : nn::file_views(encoder_))
      if (const auto found = report_.names.matched.find(name); found != report_.names.matched.end())
        state[name] = fitted(name, theirs.at(found->second), mine);
    return state;
  }

  /// MAE's decoder under the method's names; empty where the method or the file has none, or theirs is another.
  nn::StateDict read_decoder() {
    NameMatch& names = report_.names;
    std::map<std::string, std::pair<std::string, Tensor>> mine;  // official name -> the method's, its tensor
    for (const auto& [full, tensor] : nn::file_views(method_))
      if (const std::string official = mae_decoder_name(full); !official.empty()) mine[official] = {full, tensor};
    std::set<std::string> theirs;
    for (const auto& [name, full] : names.unexpected)
      if (!mae_decoder_name(name).empty()) theirs.insert(name);
    if (mine.empty() || theirs.count("decoder_embed.weight") == 0) return {};

    std::set<std::string> wanted;
    std::string difference;
    for (const auto& [name, member] : mine) {
      const Shape& shape = member.second.shape();
      if (theirs.count(name) == 0) {
        difference = "it has no " + name;
      } else if (const Shape other = content_.shape(names.prefix + name);
                 other != shape && !resizable(name, other, shape)) {
        std::ostringstream text;
        text << name << " is " << other << " there and " << shape << " here";
        difference = text.str();
      }
      if (!difference.empty()) break;
      wanted.insert(names.prefix + name);
    }
    for (const std::string& name : theirs)
      if (difference.empty() && mine.count(name) == 0) difference = name + " is not in this one";
    if (!difference.empty()) {
      report_.notes.push_back("its decoder is left out: " + difference + decoder_flags(theirs));
      return {};
    }
    const nn::StateDict read = content_.read(wanted);
    nn::StateDict state;
    for (const auto& [name, member] : mine) {
      state[member.first] = fitted(name, read.at(names.prefix + name), member.second);
      names.matched[name] = names.prefix + name;
    }
    std::erase_if(names.unexpected, [&](const auto& name) { return mine.count(name.first) > 0; });
    return state;
  }

  std::string decoder_flags(const std::set<std::string>& theirs) const {
    int64_t depth = 0;
    while (theirs.count("decoder_blocks." + std::to_string(depth) + ".norm1.weight")) ++depth;
    const Shape embed = content_.shape(report_.names.prefix + "decoder_embed.weight");
    std::string flags;
    if (embed.rank() == 2 && embed[0] != config_.decoder_dim) flags += " --decoder-dim " + std::to_string(embed[0]);
    if (depth != config_.decoder_depth) flags += " --decoder-depth " + std::to_string(depth);
    return flags.empty() ? "" : "; it fits with" + flags;
  }

  void note_dtypes() {
    std::set<std::string> dtypes;
    for (const auto& [own, theirs] : report_.names.matched)
      if (const std::string dtype = content_.dtype(theirs); dtype != "F32" && dtype[0] != 'I') dtypes.insert(dtype);
    if (!dtypes.empty()) report_.notes.push_back(join(dtypes) + " converted to F32");
  }

  /// Files of tacit's say how the network's images were normalised.
  void note_normalisation() {
    const ViewPolicy policy = views_of(config_)[0];
    const auto differs = [&](const char* key, const std::vector<float>& here) {
      const auto found = content_.metadata().find(key);
      if (found == content_.metadata().end()) return false;
      const nlohmann::json there = nlohmann::json::parse(found->second, nullptr, false);
      return there.is_array() && there != nlohmann::json(here);
    };
    if (differs("mean", policy.mean) || differs("std", policy.std))
      report_.notes.push_back("warning: " + file_ + " was trained on images of mean " + content_.metadata().at("mean") +
                              " and deviation " + content_.metadata().at("std") + ", --augmentation " +
                              config_.augmentation + " normalises otherwise");
  }

  Method& method_;
  const TrainConfig& config_;
  const std::string& file_;
  WeightsFile content_;
  nn::Encoder& encoder_;
  ImportReport report_;
};

}  // namespace

void check_initial_weights(const std::string& file) {
  about_flag("init", [&] {
    std::map<std::string, std::string> metadata;
    list_safetensors(file, &metadata);
    if (metadata.count("tacit_checkpoint_format")) load_checkpoint_info(file);
  });
}

ImportReport load_initial_weights(Method& method, const TrainConfig& config) {
  return about_flag("init", [&] { return Import(method, config).run(); });
}

}  // namespace tacit::ssl
