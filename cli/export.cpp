// tacit export RUN: the encoder alone, for other programs.
#include <nlohmann/json.hpp>

#include "cli/run_command.h"
#include "ssl/train/check.h"
#include "ssl/train/export.h"
#include "ssl/train/export_onnx.h"
#include "tensor/counted.h"
#include "tensor/directory.h"
#include "tensor/join.h"
#include "tensor/safetensors.h"

namespace tacit::cli {

namespace {

class Export final : public RunCommand {
 public:
  const char* name() const override { return "export"; }
  const char* summary() const override { return "the encoder alone: safetensors for PyTorch, or ONNX"; }
  const char* example() const override {
    return "  tacit export run --out encoder.safetensors\n"
           "  tacit export run --out teacher.safetensors --teacher\n"
           "  (Python: model.load_state_dict(safetensors.torch.load_file('encoder.safetensors')))\n"
           "  tacit export run --out encoder.onnx --include-normalisation\n"
           "  (Python: onnxruntime.InferenceSession('encoder.onnx').run(None, {'image': pixels}))";
  }
  void own_settings(Settings& settings) override {
    settings.group("Export")
        .add("format", &format_,
             "names and layouts: " + join(ssl::export_formats()) +
                 " (default: onnx for a FILE.onnx, else timm for ViTs, else torchvision)")
        .add("include-normalisation", &include_normalisation_,
             "onnx: the input is pixels in 0...1, not (x - mean) / std of them")
        .add("teacher", &teacher_, "the momentum encoder, with its own batch norm statistics (moco, byol)")
        .add("out", &out_, "the file to write", ssl::Effect::Session);
  }
  void check_own() const override {
    if (out_.empty()) throw UsageError("--out is required: the file to write");
    if (!format_.empty()) ssl::check_choice("format", format_, ssl::export_formats());
    const auto check_name = [&](const char* written, const char* wanted, const char* other) {
      check_extension("out", out_, written, wanted, {".pt", ".pth", ".ckpt", ".bin", ".npz", ".h5", other});
    };
    if (onnx())
      check_name("ONNX", ".onnx", ".safetensors");
    else
      check_name("safetensors", ".safetensors", ".onnx");
    ssl::check(onnx() || !include_normalisation_ || !flagged("include-normalisation"),
               "--include-normalisation is of --format onnx; the other formats are weights alone");
  }
  bool needs_data() const override { return false; }
  int run_on(ssl::Pretrained& run) override {
    check_writable("out", out_);
    return onnx() ? write_onnx(run) : write_weights(run);
  }

 private:
  bool onnx() const { return format_ == "onnx" || (format_.empty() && out_.ends_with(".onnx")); }

  /// What both kinds of file say of the encoder; `names` is the format whose names its tensors have.
  std::map<std::string, std::string> metadata(ssl::Pretrained& run, const std::string& names) const {
    const nlohmann::json mean = run.info.mean, std = run.info.std;
    std::map<std::string, std::string> entries = {{"encoder", run.info.config.encoder},
                                                  {"names", names},
                                                  {"teacher", teacher_ ? "true" : "false"},
                                                  {"image_size", std::to_string(run.info.config.image_size)},
                                                  {"channels", std::to_string(run.views.channels)},
                                                  {"mean", mean.dump()},
                                                  {"std", std.dump()}};
    if (run.views.normalisation.lightness) entries["input"] = "(L - 50) / 50 of CIE Lab";
    const std::string timm = ssl::timm_call(run.method->encoder());
    if (!timm.empty()) entries["timm"] = timm;
    return entries;
  }
  /// What stands before each line on what was written.
  std::string written(const ssl::Pretrained& run) const {
    return out_ + ": " + run.info.config.encoder + (teacher_ ? " (teacher)" : "") + ", ";
  }

  int write_weights(ssl::Pretrained& run) {
    const std::string& encoder = run.info.config.encoder;
    const std::string format = format_.empty() ? ssl::default_export_format(encoder) : format_;
    SafeTensors file{ssl::exported_tensors(run, format, teacher_), metadata(run, format)};
    file.metadata["format"] = "pt";
    write_safetensors(with_directory(out_), file);
    print_result(common_, written(run) + counted(file.tensors.size(), "tensor") + ", " + format + "'s names");
    if (file.metadata.count("timm")) print_result(common_, "the same features in timm: " + file.metadata.at("timm"));
    write_json(common_,
               {{"encoder", encoder}, {"tensors", file.tensors.size()}, {"format", format}, {"teacher", teacher_}});
    return 0;
  }

  int write_onnx(ssl::Pretrained& run) {
    const std::string& encoder = run.info.config.encoder;
    ssl::onnx::Model model = ssl::onnx_model(ssl::exported_encoder(run, teacher_), run.views, include_normalisation_);
    model.name = encoder;
    model.version = TACIT_VERSION;
    model.metadata = metadata(run, ssl::default_export_format(encoder));
    model.metadata.emplace("input",
                           include_normalisation_ ? "pixels in 0...1" : "(x - mean) / std of pixels x in 0...1");
    ssl::onnx::write_model(with_directory(out_), model);
    const auto shape = [](const ssl::onnx::Port& port) {
      return port.name + " (N, " + join(port.sizes, [](int64_t size) { return std::to_string(size); }) + ")";
    };
    print_result(common_, written(run) + "ONNX of operator set " + std::to_string(ssl::onnx::kOperatorSet) + ": " +
                              shape(model.input) + ", " + model.metadata["input"] + " -> " + shape(model.output));
    write_json(common_, {{"encoder", encoder},
                         {"nodes", model.nodes.size()},
                         {"tensors", model.weights.size()},
                         {"format", "onnx"},
                         {"include_normalisation", include_normalisation_},
                         {"teacher", teacher_}});
    return 0;
  }

  std::string format_, out_;
  bool include_normalisation_ = false, teacher_ = false;
};

}  // namespace

std::unique_ptr<Command> make_export() { return std::make_unique<Export>(); }

}  // namespace tacit::cli
