#include "nn/encoder.h"

#include <algorithm>
#include <cstdlib>

#include "nn/eval_mode.h"
#include "nn/nin.h"
#include "nn/resnet.h"
#include "nn/small_cnn.h"
#include "nn/vit.h"
#include "tensor/join.h"
#include "tensor/multiply_adds.h"

namespace tacit::nn {

namespace {

Stem stem_of(const EncoderOptions& o) {
  if (o.stem == "cifar") return Stem::Cifar;
  if (o.stem == "imagenet") return Stem::ImageNet;
  TACIT_CHECK(o.stem == "auto", "[encoder] unknown stem '", o.stem, "'; known: auto, cifar, imagenet");
  return o.image_size <= 64 ? Stem::Cifar : Stem::ImageNet;
}

template <int depth>
Encoder make_resnet(const EncoderOptions& o) {
  return Encoder(ResNet({.depth = depth,
                         .width = o.width > 0 ? o.width : 64,
                         .channels = o.channels,
                         .stem = stem_of(o),
                         .zero_init_residual = o.zero_init_residual,
                         .bn_splits = o.bn_splits,
                         .checkpoint = o.checkpoint_activations,
                         .seed = o.seed}));
}

Encoder make_small_cnn(const EncoderOptions& o) {
  return Encoder(SmallCnn(
      {.width = o.width > 0 ? o.width : 32, .channels = o.channels, .bn_splits = o.bn_splits, .seed = o.seed}));
}

Encoder make_nin(const EncoderOptions& o) {
  return Encoder(
      Nin({.width = o.width > 0 ? o.width : 192, .channels = o.channels, .bn_splits = o.bn_splits, .seed = o.seed}));
}

Pool pool_of(const EncoderOptions& o) {
  if (o.pool == "cls") return Pool::Cls;
  TACIT_CHECK(o.pool == "mean" || o.pool == "mean-after-norm", "[encoder] unknown pool '", o.pool,
              "'; known: cls, mean, mean-after-norm");
  return Pool::Mean;
}

Position position_of(const EncoderOptions& o) {
  if (o.position == "sincos") return Position::SinCos;
  TACIT_CHECK(o.position == "learned", "[encoder] unknown position '", o.position, "'; known: sincos, learned");
  return Position::Learned;
}

template <int64_t dim, int64_t depth, int64_t heads>
Encoder make_vit(const EncoderOptions& o) {
  constexpr int64_t head_size = dim / heads;
  const int64_t width = o.width > 0 ? o.width : dim;
  return Encoder(ViT({.dim = width,
                      .depth = depth,
                      .heads = std::max<int64_t>(1, width / head_size),
                      .patch = o.patch_size > 0 ? o.patch_size : default_patch_size(o.image_size),
                      .image_h = o.image_size,
                      .image_w = o.image_size,
                      .channels = o.channels,
                      .pool = pool_of(o),
                      .fc_norm = o.pool == "mean",
                      .position = position_of(o),
                      .drop_path = o.drop_path,
                      .checkpoint = o.checkpoint_activations,
                      .seed = o.seed}));
}

struct Row {
  const char* name;
  Encoder (*make)(const EncoderOptions&);
  int64_t head_size = 0;  // of ViTs
};
template <int64_t dim, int64_t depth, int64_t heads>
constexpr Row vit(const char* name) {
  return {name, make_vit<dim, depth, heads>, dim / heads};
}
// The only list of encoders.
constexpr Row kEncoders[] = {{"resnet18", make_resnet<18>},
                             {"resnet34", make_resnet<34>},
                             {"resnet50", make_resnet<50>},
                             {"small_cnn", make_small_cnn},
                             {"nin", make_nin},
                             vit<128, 4, 4>("vit_micro"),
                             vit<192, 12, 3>("vit_tiny"),
                             vit<384, 12, 6>("vit_small"),
                             vit<768, 12, 12>("vit_base")};

}  // namespace

std::vector<std::string> Encoder::stages() {
  std::vector<std::string> names;
  if (Staged* const staged = as<Staged>()) {
    const auto [name, count] = staged->stages();
    for (int i = 1; i <= count; ++i) names.push_back(name + std::to_string(i));
  }
  return names;
}

Variable Encoder::stage(const std::string& name, const Variable& images) {
  const std::vector<std::string> names = stages();
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end())
    throw Error("[encoder] this encoder has no stage '" + name + "'; its stages: " + join(names));
  return as<Staged>()->after_stages(images, static_cast<int>(found - names.begin()) + 1);
}

Variable Encoder::map(const Variable& images) {
  Staged* const staged = as<Staged>();
  TACIT_CHECK(staged, "[encoder] this encoder has no stages, so its last map cannot be read");
  return staged->stage_map(images, staged->stages().second);
}

int64_t multiply_adds(Encoder& encoder, int64_t image_size, int64_t channels) {
  const EvalMode mode(encoder);
  const NoGrad no_grad;
  const MultiplyAdds counter;
  encoder(Tensor::zeros({1, image_size, image_size, channels}));
  return counter.count();
}

int64_t default_patch_size(int64_t image_size) {
  if (image_size > 64) return 16;
  int64_t best = 1;
  for (int64_t patch = 1; patch <= image_size; ++patch)
    if (image_size % patch == 0 && std::abs(8 * patch - image_size) <= std::abs(8 * best - image_size)) best = patch;
  return best;
}

bool is_vit(const std::string& name) {
  return std::any_of(std::begin(kEncoders), std::end(kEncoders),
                     [&](const Row& row) { return name == row.name && row.head_size > 0; });
}

bool is_resnet(const std::string& name) { return name.rfind("resnet", 0) == 0; }

void check_encoder_width(const std::string& name, int64_t width) {
  for (const Row& row : kEncoders) {
    if (name != row.name || row.head_size == 0 || width == 0) continue;
    TACIT_CHECK(width < row.head_size ? width % 4 == 0 : width % row.head_size == 0, "[encoder] ", name, " of width ",
                width, ": it must be a multiple of ", row.head_size,
                ", the size of a head, or a multiple of 4 below it");
  }
}

std::vector<std::string> encoder_names() {
  std::vector<std::string> names;
  for (const Row& row : kEncoders) names.emplace_back(row.name);
  return names;
}

Encoder make_encoder(const EncoderOptions& o) {
  check_encoder_width(o.name, o.width);
  for (const Row& row : kEncoders)
    if (o.name == row.name) return row.make(o);
  throw Error("[encoder] unknown encoder '" + o.name + "'; known: " + join(encoder_names()));
}

}  // namespace tacit::nn
