// tacit export RUN: the encoder alone, for other programs.
#include <nlohmann/json.hpp>

#include "cli/run_command.h"
#include "ssl/train/check.h"
#include "ssl/train/export.h"
#include "tensor/counted.h"
#include "tensor/directory.h"
#include "tensor/safetensors.h"

namespace tacit::cli {

namespace {

class Export final : public RunCommand {
 public:
  const char* name() const override { return "export"; }
  const char* summary() const override { return "the encoder alone, as safetensors for PyTorch"; }
  const char* example() const override {
    return "  tacit export run --out encoder.safetensors\n"
           "  tacit export run --out teacher.safetensors --teacher\n"
           "  (Python: model.load_state_dict(safetensors.torch.load_file('encoder.safetensors')))";
  }
  void settings(Settings& settings) override {
    settings.group("Export")
        .add("format", &format_,
             "names and layouts: " + join(ssl::export_formats()) + " (default: timm for ViTs, else torchvision)")
        .add("teacher", &teacher_, "the momentum encoder, with its own batch norm statistics (moco, byol)")
        .add("out", &out_, "the file to write", ssl::Effect::Session);
    add_common(settings);
  }
  void check_own() const override {
    if (out_.empty()) throw UsageError("--out is required: the file to write");
    if (format_ == "onnx") throw UsageError("--format onnx is not in this version of tacit");
    if (!format_.empty()) ssl::check_choice("format", format_, ssl::export_formats());
  }
  bool needs_data() const override { return false; }
  int run_on(ssl::Pretrained& run) override {
    check_writable("out", out_);
    const std::string& encoder = run.info.config.encoder;
    const std::string format = format_.empty() ? ssl::default_export_format(encoder) : format_;
    SafeTensors file;
    file.tensors = ssl::exported_tensors(run, format, teacher_);
    const nlohmann::json mean = run.info.mean, std = run.info.std;
    file.metadata = {{"format", "pt"},
                     {"encoder", encoder},
                     {"names", format},
                     {"teacher", teacher_ ? "true" : "false"},
                     {"image_size", std::to_string(run.info.config.image_size)},
                     {"channels", std::to_string(run.views.channels)},
                     {"mean", mean.dump()},
                     {"std", std.dump()}};
    if (run.views.normalisation.lightness) file.metadata["input"] = "(L - 50) / 50 of CIE Lab";
    const std::string timm = ssl::timm_call(run.method->encoder());
    if (!timm.empty()) file.metadata["timm"] = timm;
    write_safetensors(with_directory(out_), file);
    print_result(common_, out_ + ": " + encoder + (teacher_ ? " (teacher)" : "") + ", " +
                              counted(file.tensors.size(), "tensor") + ", " + format + "'s names");
    if (!timm.empty()) print_result(common_, "the same features in timm: " + timm);
    write_json(common_,
               {{"encoder", encoder}, {"tensors", file.tensors.size()}, {"format", format}, {"teacher", teacher_}});
    return 0;
  }

 private:
  std::string format_, out_;
  bool teacher_ = false;
};

}  // namespace

std::unique_ptr<Command> make_export() { return std::make_unique<Export>(); }

}  // namespace tacit::cli
