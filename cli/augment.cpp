// tacit augment METHOD: a contact sheet of the views that the method would see.
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/method_list.h"
#include "ssl/train/build.h"
#include "ssl/train/picture.h"

namespace tacit::cli {

namespace {

class Augment final : public Command {
 public:
  const char* name() const override { return "augment"; }
  const char* summary() const override { return "contact sheet of the views a method would see"; }
  const char* example() const override {
    return "  tacit augment simclr --data fashion-mnist --recipe fashion-mnist-demo --out views.png";
  }
  void arguments(CLI::App& app) override {
    app.add_option("method", config_.method, method_list())->required()->option_text("METHOD");
  }
  // The settings of `pretrain`, all of them: RUN/config.toml is then a --config that shows that run's views.
  void settings(Settings& settings) override { settings = method_settings(config_); }
  void resolve(Settings&, const ssl::ConfigLayers& said) override {
    layers_ = said;
    layers_.flags.push_back({"method", {config_.method}});
    config_ = ssl::resolve(layers_, 0);
    common_ = common_of(config_);
  }
  std::string print_config(const Settings&) override {
    open();
    return ssl::settings_of(config_).toml();
  }
  int run() override {
    if (config_.out.empty()) throw UsageError("--out is required: the PNG to write");
    start(common_);
    check_writable("out", config_.out);
    const ssl::ImageSourcePtr source = open();
    ssl::LoaderOptions options;
    options.views = ssl::view_policies(config_);
    options.image_size = config_.image_size;
    options.channels = config_.channels;
    options.seed = static_cast<uint64_t>(config_.seed);
    ssl::views_sheet(source, options).write_png(config_.out);
    print_result(common_, config_.out + ": views of '" + config_.augmentation + "' at " +
                              std::to_string(config_.image_size) + " pixels");
    write_json(common_, {{"augmentation", config_.augmentation}, {"image_size", config_.image_size}});
    return 0;
  }

 private:
  ssl::ImageSourcePtr open() {
    std::vector<std::string> notes;
    const ssl::ImageSourcePtr source = ssl::open_training_data(config_, &notes);
    for (const std::string& note : notes) say(common_, note);
    config_ = ssl::resolve(layers_, ssl::natural_size(*source));
    ssl::take_size_from(config_, *source);
    return source;
  }

  ssl::TrainConfig config_;
  ssl::ConfigLayers layers_;
};

}  // namespace

std::unique_ptr<Command> make_augment() { return std::make_unique<Augment>(); }

}  // namespace tacit::cli
