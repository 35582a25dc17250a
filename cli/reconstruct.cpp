// tacit reconstruct RUN: what a method that predicts pixels makes of images, as a picture.
#include <nlohmann/json.hpp>

#include "cli/run_command.h"
#include "ssl/train/picture.h"
#include "tensor/counted.h"
#include "tensor/directory.h"
#include "tensor/join.h"

namespace tacit::cli {

namespace {

class Reconstruct final : public RunCommand {
 public:
  const char* name() const override { return "reconstruct"; }
  const char* summary() const override { return "what the network makes of hidden patches or colours, as a picture"; }
  const char* example() const override {
    return "  tacit reconstruct run --data fashion-mnist --images 8 --out reconstruction.png";
  }
  void own_settings(Settings& settings) override {
    settings.group("Reconstruction")
        .add("images", &count_, "test images to show, of different classes where there are labels")
        .add("out", &out_, "the PNG to write: a row an image", ssl::Effect::Session);
  }
  void check_own() const override {
    check_png("out", out_);
    check_flag("images", static_cast<double>(count_), 1, 100);
  }
  int run_on(ssl::Pretrained& run) override {
    check_writable("out", out_);
    const ssl::ImageSourcePtr source = varied(data_.open(ssl::Split::Test, common_), count_);
    const std::vector<ssl::PictureColumn> columns =
        ssl::reconstruction(*run.method, *source, run.method_views, static_cast<uint64_t>(common_.seed));
    if (columns.empty())
      throw UsageError(run_path_ + " was trained by " + run.info.config.method +
                       ", which predicts no pixels; reconstruct is for mae and colorization");
    ssl::columns_sheet(columns, run.method_views.normalisation).write_png(with_directory(out_));
    nlohmann::json listed = nlohmann::json::array();
    for (const ssl::PictureColumn& column : columns) listed.push_back(column.name);
    print_result(common_,
                 out_ + ": " + counted(source->size(), "row") + " of " + join(columns, &ssl::PictureColumn::name));
    write_json(common_, {{"images", source->size()}, {"columns", listed}});
    return 0;
  }

 private:
  int64_t count_ = 8;
  std::string out_;
};

}  // namespace

std::unique_ptr<Command> make_reconstruct() { return std::make_unique<Reconstruct>(); }

}  // namespace tacit::cli
