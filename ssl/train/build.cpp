#include "ssl/train/build.h"

#include "optim/adamw.h"
#include "optim/schedule.h"
#include "optim/sgd.h"
#include "ssl/methods/simclr.h"
#include "tensor/safetensors.h"

namespace tacit::ssl {

std::unique_ptr<Method> make_method(const TrainConfig& config) {
  TACIT_CHECK(config.image_size > 0 && config.channels > 0, "[method] the image size and channels are not resolved");
  if (config.method != "simclr")
    throw UsageError("method '" + config.method + "' is not in this version; there is: simclr");
  return std::make_unique<SimCLR>(nn::make_encoder(config.encoder_options()),
                                  SimCLROptions{.temperature = config.temperature,
                                                .projector = config.projector,
                                                .projector_batch_norm = config.projector_batch_norm,
                                                .seed = static_cast<uint64_t>(config.seed)});
}

std::unique_ptr<optim::Optimizer> make_optimizer(const TrainConfig& config, nn::Module& model) {
  std::vector<optim::ParamGroup> groups = config.decay_all ? optim::single_group(model, config.weight_decay)
                                                           : optim::default_groups(model, config.weight_decay);
  if (config.optimizer == "sgd")
    return std::make_unique<optim::SGD>(
        std::move(groups), optim::SGDOptions{.lr = config.effective_lr(), .momentum = config.sgd_momentum});
  return std::make_unique<optim::AdamW>(std::move(groups), optim::AdamWOptions{.lr = config.effective_lr()});
}

std::function<double(int64_t)> make_schedule(const TrainConfig& config, int64_t steps) {
  return [lr = config.effective_lr(), warmup = config.warmup_steps(steps), steps](int64_t step) {
    return optim::warmup_cosine(step, warmup, steps, lr);
  };
}

void load_initial_weights(nn::Encoder& encoder, const std::string& file) {
  const SafeTensors content = about_flag("init", [&] { return read_safetensors(file); });
  const std::string prefix = content.metadata.count("tacit_checkpoint_format") ? "model.encoder." : "";
  nn::StateDict state;
  for (const auto& tensor : content.tensors)
    if (tensor.first.rfind(prefix, 0) == 0) state[tensor.first.substr(prefix.size())] = tensor.second;
  about_flag("init", [&] { check_finite(file, state); });
  // A classifier beyond the encoder is left out; a weight that the file lacks is not.
  const nn::LoadReport report = nn::load_state(encoder, state, false);
  TACIT_CHECK(report.missing.empty(), "--init ", file, " lacks ", report.missing.size(),
              " of the encoder's tensors, first ", report.missing[0],
              "; is it the same --encoder, --encoder-width and --stem?");
}

Pretrained load_pretrained(const std::string& run) {
  Checkpoint checkpoint = load_checkpoint(checkpoint_path(run));
  Pretrained loaded;
  loaded.info = checkpoint.info;
  loaded.method = make_method(checkpoint.info.config);
  nn::load_state(*loaded.method, checkpoint.model);
  loaded.views.normalisation.mean = checkpoint.info.mean;
  loaded.views.normalisation.std = checkpoint.info.std;
  loaded.views.image_size = checkpoint.info.config.image_size;
  loaded.views.channels = checkpoint.info.config.channels;
  return loaded;
}

}  // namespace tacit::ssl
