#include "ssl/methods/mae.h"

#include <cmath>

#include "autograd/ops.h"
#include "ssl/methods/batch_metrics.h"
#include "tensor/random.h"

namespace tacit::ssl {

namespace {

struct PatchMoments {
  Tensor mean, std;  // (N, L, 1); the deviation is sqrt(unbiased variance + 1e-6)
};

PatchMoments moments_of(const Tensor& patches) {
  const int64_t n = patches.size(-1);
  TACIT_CHECK(n > 1, "[MAE] a patch of one number has no variance; use a larger --patch-size or --norm-pixels=false");
  const double unbiased = static_cast<double>(n) / static_cast<double>(n - 1);
  return {mean(patches, {-1}, true), sqrt(var(patches, {-1}, true) * unbiased + 1e-6)};
}

int64_t numbers_of_patch(const nn::ViTOptions& o) { return o.patch * o.patch * o.channels; }

uint64_t mask_stream(int64_t step) { return random_stream("MAE mask", static_cast<uint64_t>(step)); }

}  // namespace

Tensor normalize_patches(const Tensor& patches) {
  const PatchMoments m = moments_of(patches);
  return (patches - m.mean) / m.std;
}

Tensor masked_images(const Tensor& images, int64_t patch, const MAEOptions& options, int64_t step) {
  const Tensor patches = patchify(images, patch);
  const Masking masking = random_masking(images.size(0), patches.size(1), options.mask_ratio, options.seed,
                                         mask_stream(step), images.device());
  return unpatchify(patches * (1.0 - masking.mask.to(images.dtype()).unsqueeze(2)), patch, images.size(1),
                    images.size(2));
}

const nn::ViTOptions& MAE::checked(nn::Encoder& encoder, const MAEOptions& options) {
  nn::ViT* const vit = encoder.as<nn::ViT>();
  TACIT_CHECK(vit, "[MAE] the encoder must be a ViT: only tokens can be left out");
  const nn::ViTOptions& o = vit->options();
  TACIT_CHECK(o.pool == nn::Pool::Cls || !o.fc_norm,
              "[MAE] this ViT normalises after the pool (--pool mean), but the decoder reads normalised tokens; use "
              "--pool cls or --pool mean-after-norm");
  visible_patches(vit->tokens(), options.mask_ratio);
  return o;
}

MAE::MAE(nn::Encoder encoder, MAEOptions options)
    : options_(options),
      encoder_(std::move(encoder)),
      vit_options_(checked(encoder_, options_)),
      patches_(vit().tokens()),
      decoder_(vit_options_.dim, vit().grid_h(), vit().grid_w(), numbers_of_patch(vit_options_), options_.decoder,
               options_.seed) {}

Variable MAE::loss(const std::vector<Tensor>& views, const Progress& progress) {
  TACIT_CHECK(views.size() == 1, "[MAE] needs one view (B, H, W, C), got ", views.size());
  const Tensor& images = views[0];
  const Masking masking = random_masking(images.size(0), patches_, options_.mask_ratio, options_.seed, progress.step,
                                         mask_stream, images.device());
  const Variable latent = encode(images, masking.keep);
  metrics_["feature_std"] =
      feature_spread(vit_options_.pool == nn::Pool::Cls ? latent.value().select(1, 0)
                                                        : mean(latent.value().slice(1, 1, latent.size(1)), {1}));
  const Tensor hidden = gather(patchify(images, vit_options_.patch), 1, masking.hidden.unsqueeze(2));
  const Tensor target = options_.norm_pixels ? normalize_patches(hidden) : hidden;
  return mean(square(decoder_(latent, masking) - target));
}

Masking MAE::draw(const Tensor& images, uint64_t seed, uint64_t stream) const {
  return random_masking(images.size(0), patches_, options_.mask_ratio, seed, stream, images.device());
}

Variable MAE::encode(const Tensor& images, const Tensor& keep) {
  vit().check_images(images.shape());
  const Tensor visible = gather(patchify(images, vit_options_.patch), 1, keep.unsqueeze(2));
  return vit().encode_tokens(vit().patches(visible, keep));
}

std::vector<PictureColumn> MAE::reconstruct(const Tensor& images, uint64_t seed) {
  const NoGrad no_grad;
  const Masking masking = draw(images, seed, random_stream("MAE reconstruction"));
  const Tensor patches = patchify(images, vit_options_.patch), hidden = masking.mask.to(images.dtype()).unsqueeze(2);
  const Tensor made = decoder_(encode(images, masking.keep), masking).value();
  // Back in the image's order, with anything in the visible places.
  Tensor pred = gather(concatenate(std::vector<Tensor>{Tensor::zeros({made.size(0), masking.keep.size(1), made.size(2)},
                                                                     made.dtype(), made.device()),
                                                       made},
                                   1),
                       1, masking.restore.unsqueeze(2));
  if (options_.norm_pixels) {
    const PatchMoments m = moments_of(patches);
    pred = pred * m.std + m.mean;
  }
  const Tensor visible = patches * (1.0 - hidden);
  const auto picture = [&](const Tensor& p) {
    return unpatchify(p, vit_options_.patch, vit_options_.image_h, vit_options_.image_w);
  };
  return {{"image", images}, {"masked", picture(visible)}, {"reconstruction", picture(visible + pred * hidden)}};
}

Variable MAE::project(const Variable&) {
  throw Error("[MAE] there is no projection head; use --feature encoder or a block of it (block1, block2, …)");
}

Chance MAE::chance(int64_t) const {
  return {options_.norm_pixels ? 1 - 1 / static_cast<double>(numbers_of_patch(vit_options_)) : 1, 0};
}

std::vector<std::string> MAE::describe(int64_t, int64_t) const {
  const std::string patch = std::to_string(vit_options_.patch);
  return {"patches     " + std::to_string(patches_) + " of " + patch + " x " + patch +
          " pixels, of which the encoder sees " + std::to_string(visible_patches(patches_, options_.mask_ratio))};
}

void MAE::visit(nn::Visitor& v) {
  v("encoder", encoder_);
  v("", decoder_);
}

}  // namespace tacit::ssl
