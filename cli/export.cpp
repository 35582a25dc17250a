// tacit export RUN: the encoder alone, for other programs.
#include <nlohmann/json.hpp>

#include "cli/run_command.h"
#include "tensor/safetensors.h"

namespace tacit::cli {

namespace {

class Export final : public RunCommand {
 public:
  const char* name() const override { return "export"; }
  const char* summary() const override { return "the encoder alone, as safetensors for PyTorch"; }
  const char* example() const override {
    return "  tacit export run --out encoder.safetensors\n"
           "  (Python: model.load_state_dict(safetensors.torch.load_file('encoder.safetensors')))";
  }
  void settings(Settings& settings) override {
    settings.group("Export")
        .add("format", &format_, "torchvision: its names and layouts")
        .add("out", &out_, "the file to write", ssl::Effect::Session);
    add_common(settings);
  }
  void check() const override {
    if (out_.empty()) throw UsageError("--out is required: the file to write");
    if (format_ != "torchvision")
      throw UsageError("--format " + format_ + " is not in this version; there is: torchvision");
  }
  bool needs_data() const override { return false; }
  int run_on(ssl::Pretrained& run) override {
    check_writable("out", out_);
    SafeTensors file;
    file.tensors = nn::state_dict(run.method->encoder());
    const nlohmann::json mean = run.info.mean, std = run.info.std;
    file.metadata = {{"format", "pt"},
                     {"encoder", run.info.config.encoder},
                     {"image_size", std::to_string(run.info.config.image_size)},
                     {"channels", std::to_string(run.info.config.channels)},
                     {"mean", mean.dump()},
                     {"std", std.dump()}};
    write_safetensors(out_, file);
    print_result(common_,
                 out_ + ": " + run.info.config.encoder + ", " + std::to_string(file.tensors.size()) + " tensors");
    write_json(common_, {{"encoder", run.info.config.encoder}, {"tensors", file.tensors.size()}});
    return 0;
  }

 private:
  std::string format_ = "torchvision", out_;
};

}  // namespace

std::unique_ptr<Command> make_export() { return std::make_unique<Export>(); }

}  // namespace tacit::cli
