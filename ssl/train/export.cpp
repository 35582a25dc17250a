#include "ssl/train/export.h"

#include "ssl/train/check.h"

#include <sstream>

#include "nn/vit.h"

namespace tacit::ssl {

namespace {

bool starts_with(const std::string& text, const char* start) { return text.rfind(start, 0) == 0; }

}  // namespace

std::vector<std::string> export_formats() { return {"torchvision", "timm", "mae", "onnx"}; }

std::string default_export_format(const std::string& encoder) { return nn::is_vit(encoder) ? "timm" : "torchvision"; }

std::string mae_decoder_name(const std::string& name) {
  for (size_t at = 0; at < name.size();) {
    const std::string rest = name.substr(at);
    if (rest == "mask_token" || starts_with(rest, "decoder_")) return rest;
    const size_t dot = name.find('.', at);
    at = dot == std::string::npos ? name.size() : dot + 1;
  }
  return "";
}

std::string timm_call(nn::Encoder& encoder) {
  const nn::ViT* const vit = encoder.as<nn::ViT>();
  if (!vit) return "";
  const nn::ViTOptions& o = vit->options();
  const bool mean = o.pool == nn::Pool::Mean;
  std::ostringstream text;
  text << "VisionTransformer(img_size=" << o.image_h << ", patch_size=" << o.patch << ", in_chans=" << o.channels
       << ", num_classes=0, embed_dim=" << o.dim << ", depth=" << o.depth << ", num_heads=" << o.heads
       << ", global_pool='" << (mean ? "avg" : "token") << "'" << (mean && !o.fc_norm ? ", fc_norm=False" : "") << ")";
  return text.str();
}

nn::Encoder& exported_encoder(Pretrained& run, bool teacher) {
  nn::Encoder* const encoder = teacher ? run.method->teacher() : &run.method->encoder();
  check(encoder != nullptr, "--teacher: " + run.info.config.method +
                                " has no teacher; methods with a momentum encoder have one, such as moco and byol");
  return *encoder;
}

nn::StateDict exported_tensors(Pretrained& run, const std::string& format, bool teacher) {
  const std::string& name = run.info.config.encoder;
  const bool vit = nn::is_vit(name), resnet = nn::is_resnet(name);
  check(format != "torchvision" || !vit,
        "--format torchvision has no names for the run's " + name + "; use timm or mae");
  check(format != "timm" || vit || resnet, "--format timm has no names for the run's " + name + "; use torchvision");
  check(format != "mae" || vit,
        "--format mae is of ViTs, the run's encoder is " + name + "; use " + std::string(default_export_format(name)));
  nn::StateDict tensors = nn::state_dict(exported_encoder(run, teacher));
  if (format == "mae")
    for (const auto& [full, tensor] : nn::state_dict(*run.method))
      if (const std::string official = mae_decoder_name(full); !official.empty()) tensors[official] = tensor;
  return tensors;
}

}  // namespace tacit::ssl
