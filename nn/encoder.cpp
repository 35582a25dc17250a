#include "nn/encoder.h"

#include <algorithm>
#include <cstdlib>

#include "autograd/ops.h"
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
  const std::string stem = o.stem == "auto" ? default_stem(o.image_size) : o.stem;
  if (stem == "cifar") return Stem::Cifar;
  TACIT_CHECK(stem == "imagenet", "[encoder] unknown stem '", stem, "'; known: auto, cifar, imagenet");
  return Stem::ImageNet;
}

template <int depth>
Encoder make_resnet(const EncoderOptions& o) {
  return Encoder(ResNet({.depth = depth,
                         .width = o.width,
                         .channels = o.channels,
                         .stem = stem_of(o),
                         .zero_init_residual = o.zero_init_residual,
                         .bn_splits = o.bn_splits,
                         .checkpoint = o.checkpoint_activations,
                         .seed = o.seed}));
}

Encoder make_small_cnn(const EncoderOptions& o) {
  return Encoder(SmallCnn({.width = o.width, .channels = o.channels, .bn_splits = o.bn_splits, .seed = o.seed}));
}

Encoder make_nin(const EncoderOptions& o) {
  return Encoder(Nin({.width = o.width, .channels = o.channels, .bn_splits = o.bn_splits, .seed = o.seed}));
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

template <int64_t depth, int64_t head_size>
Encoder make_vit(const EncoderOptions& o) {
  return Encoder(ViT({.dim = o.width,
                      .depth = depth,
                      .heads = std::max<int64_t>(1, o.width / head_size),
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
  Encoder (*make)(const EncoderOptions&);  // with their width
  int64_t width;                           // the published one
  int64_t head_size = 0;                   // of ViTs
};
template <int64_t dim, int64_t depth, int64_t heads>
constexpr Row vit(const char* name) {
  return {name, make_vit<depth, dim / heads>, dim, dim / heads};
}
// The only list of encoders.
constexpr Row kEncoders[] = {{"resnet18", make_resnet<18>, 64},
                             {"resnet34", make_resnet<34>, 64},
                             {"resnet50", make_resnet<50>, 64},
                             {"small_cnn", make_small_cnn, 32},
                             {"nin", make_nin, 192},
                             vit<128, 4, 4>("vit_micro"),
                             vit<192, 12, 3>("vit_tiny"),
                             vit<384, 12, 6>("vit_small"),
                             vit<768, 12, 12>("vit_base")};

const Row& row_of(const std::string& name) {
  for (const Row& row : kEncoders)
    if (name == row.name) return row;
  throw Error("[encoder] unknown encoder '" + name + "'; known: " + join(encoder_names()));
}

}  // namespace

Variable Encoder::operator()(const Variable& images) { return widen(AnyModule::operator()(images)); }

std::vector<std::string> Encoder::stages() {
  std::vector<std::string> names;
  if (Staged* const staged = as<Staged>()) {
    const auto [name, count] = staged->stages();
    for (int i = 1; i <= count; ++i) names.push_back(name + std::to_string(i));
  }
  return names;
}

int Encoder::stage_number(const std::string& name) {
  const std::vector<std::string> names = stages();
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end())
    throw Error("[encoder] this encoder has no stage '" + name + "'; its stages: " + join(names));
  return static_cast<int>(found - names.begin()) + 1;
}

Variable Encoder::stage(const std::string& name, const Variable& images) {
  const int number = stage_number(name);
  return widen(as<Staged>()->after_stages(images, number));
}

Variable Encoder::stage_map(const std::string& name, const Variable& images) {
  const int number = stage_number(name);
  return as<Staged>()->stage_map(images, number);
}

Variable Encoder::map(const Variable& images) {
  Staged* const staged = as<Staged>();
  TACIT_CHECK(staged, "[encoder] this encoder has no stages, so its last map cannot be read");
  return staged->stage_map(images, staged->stages().second);
}

std::string default_stem(int64_t image_size) { return image_size <= 64 ? "cifar" : "imagenet"; }

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

int64_t published_width(const std::string& name) { return row_of(name).width; }

Encoder make_encoder(const EncoderOptions& options) {
  check_encoder_width(options.name, options.width);
  const Row& row = row_of(options.name);
  EncoderOptions o = options;
  if (o.width == 0) o.width = row.width;
  return row.make(o);
}

}  // namespace tacit::nn
