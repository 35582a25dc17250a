// tacit augment METHOD: a contact sheet of the views that the method would see.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/method_list.h"
#include "ssl/train/build.h"
#include "ssl/train/picture.h"
#include "tensor/directory.h"

namespace tacit::cli {

namespace {

class Augment final : public Command {
 public:
  const char* name() const override { return "augment"; }
  const char* summary() const override { return "contact sheet of the views a method would see"; }
  const char* example() const override {
    return "  tacit augment simclr --data fashion-mnist --recipe fashion-mnist-demo --out views.png";
  }
  std::vector<Positional> arguments() override { return {{"method", "METHOD", method_list(), &config_.method}}; }
  // The flags of `pretrain` that say which images and views there are. In a --config all of its settings are taken, so
  // that RUN/config.toml shows that run's views.
  void settings(Settings& settings) override {
    const Settings pretrain = method_settings(config_);
    for (const Settings::Setting& s : pretrain.all()) {
      if (!of_views(s)) continue;
      settings.group(s.group).add(s.name, s.target, help_of(s), s.effect);
      if (!s.shown_default.empty()) settings.show_default(s.name, s.shown_default);
    }
  }
  void resolve(Settings&, const ssl::ConfigLayers& said) override {
    layers_ = said;
    layers_.flags.push_back({"method", {config_.method}});
    config_ = ssl::resolve_unseen(layers_);
    common_ = common_of(config_);
  }
  std::string print_config(const Settings&) override {
    open();
    return ssl::settings_of(config_).toml();
  }
  int run() override {
    check_png("out", config_.out);
    start(common_);
    check_writable("out", config_.out);
    const ssl::ImageSourcePtr source = open();
    ssl::LoaderOptions options;
    options.views = ssl::views_of(config_);
    options.image_size = config_.image_size;
    options.channels = config_.channels;
    options.seed = static_cast<uint64_t>(config_.seed);
    options.max_damaged = config_.max_damaged;
    options.device_augmentation = config_.augment_on == "device";
    const auto shown = ssl::shown_views(config_);
    ssl::views_sheet(source, options, shown).write_png(with_directory(config_.out));
    print_result(common_, config_.out + ": views of '" + config_.augmentation + "' at " +
                              std::to_string(config_.image_size) + " pixels" +
                              (shown ? ", as " + config_.method + " is shown them" : ""));
    write_json(
        common_,
        {{"method", config_.method}, {"augmentation", config_.augmentation}, {"image_size", config_.image_size}});
    return 0;
  }

 private:
  static bool of_views(const Settings::Setting& s) {
    constexpr const char* kOthers[] = {"seed", "device", "threads", "memory-limit", "quiet", "out", "json"};
    if (s.group != "Optimisation" && s.group != "Run") return s.name != "init" && s.name != "cache";
    return std::find(std::begin(kOthers), std::end(kOthers), s.name) != std::end(kOthers);
  }

  static std::string help_of(const Settings::Setting& s) {
    if (s.name == "out") return "the PNG to write";
    if (s.name == "json") return "write the policy's name and the size to this file (-: stdout)";
    return s.help;
  }

  ssl::ImageSourcePtr open() {
    std::vector<std::string> notes;
    const ssl::ImageSourcePtr source = ssl::open_training_data(config_, &notes);
    for (const std::string& note : notes) say(common_, note);
    config_ = ssl::resolve_for(layers_, *source);
    ssl::take_size_from(config_, *source);
    return source;
  }

  ssl::TrainConfig config_;
  ssl::ConfigLayers layers_;
};

}  // namespace

std::unique_ptr<Command> make_augment() { return std::make_unique<Augment>(); }

}  // namespace tacit::cli
