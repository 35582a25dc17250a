#include "ssl/train/config.h"

#include <algorithm>
#include <cmath>

#include "ssl/data/augment.h"
#include "ssl/train/check.h"
#include "ssl/train/method_entry.h"
#include "tensor/counted.h"

namespace tacit::ssl {

namespace {

void check_optimisation(const TrainConfig& c) {
  check_choice("optimizer", c.optimizer, {"sgd", "adamw", "lars"});
  check(c.lr || c.base_lr, "one of --lr and --base-lr must be given");
  check(!c.nesterov || c.optimizer != "sgd" || c.sgd_momentum > 0,
        "--sgd-momentum 0 leaves --nesterov nothing to look ahead with; give --nesterov=false too, or a momentum");
  check(c.effective_lr() >= 0,
        "--lr and --base-lr must not be negative, got " + shortest(c.base_lr ? *c.base_lr : c.lr.value_or(0)));
  check_range("weight-decay", c.weight_decay, 0., 1e6);
  check_range("sgd-momentum", c.sgd_momentum, 0., 0.9999999);
  check_range("warmup-fraction", c.warmup_fraction.value_or(0), 0., 1.);
  check_range("warmup-epochs", c.warmup_epochs.value_or(0), 0., static_cast<double>(c.epochs));
  check_choice("lars-variant", c.lars_variant, {"byol", "simclr"});
  check_range("trust-coefficient", c.trust_coefficient, 1e-9, 1e9);
  check_range("beta2", c.beta2, 0., 0.9999999);
  check_choice("schedule", c.schedule, {"cosine", "steps"});
  check_range("lr-drop-factor", c.lr_drop_factor, 1e-9, 1.);
  for (const int64_t epoch : c.lr_drop_epochs) check_range<int64_t>("lr-drop-epochs", epoch, 1, c.epochs);
  check_range("clip", c.clip, 0., 1e30);
  check_choice("precision", c.precision, {"fp32", "tf32", "bf16"});
  check(!c.cuda_graph || c.device.empty() || c.device.rfind("cuda", 0) == 0,
        "--cuda-graph needs a GPU, not --device " + c.device + "; leave it out");
  check(c.precision == "fp32" || c.device.empty() || c.device.rfind("cuda", 0) == 0,
        "--precision " + c.precision + " needs a GPU, not --device " + c.device + "; leave it out");
}

}  // namespace

int64_t patch_size_of(const TrainConfig& c) {
  return c.patch_size > 0 ? c.patch_size : nn::default_patch_size(c.image_size);
}

std::vector<ViewPolicy> views_of(const TrainConfig& c) {
  std::vector<ViewPolicy> views = augmentation(c.augmentation, c.image_size, c.channels);
  if (c.augmentation == "none") views.resize(static_cast<size_t>(method_entry(c.method).views), views[0]);
  for (ViewPolicy& view : views)
    if (method_entry(c.method).lightness) {  // its views are colours, not what a network is fed
      view.mean.clear();
      view.std.clear();
    }
  return views;
}

int64_t TrainConfig::warmup_steps(int64_t steps) const {
  const double all = static_cast<double>(steps);
  if (warmup_epochs) return std::llround(all * *warmup_epochs / static_cast<double>(std::max<int64_t>(epochs, 1)));
  return std::llround(all * warmup_fraction.value_or(0));
}

nn::EncoderOptions TrainConfig::encoder_options() const {
  return {.name = encoder,
          .width = encoder_width,
          .stem = stem,
          .image_size = image_size,
          .channels = method_entry(method).lightness ? 1 : channels,
          .zero_init_residual = zero_init_residual,
          .checkpoint_activations = checkpoint_activations,
          .bn_splits = bn_splits.value_or(0),
          .patch_size = patch_size,
          .pool = pool,
          .seed = static_cast<uint64_t>(seed)};
}

DataOptions TrainConfig::data_options() const {
  return {.no_labels = no_labels, .limit = limit, .max_pixels = max_pixels, .test_data = test_data};
}

Settings settings_of(TrainConfig& c) {
  const Effect trajectory = Effect::Trajectory, place = Effect::Place;
  Settings s;
  s.group("Method")
      .add("method", &c.method, "the method, as in `pretrain METHOD`", trajectory)
      .add("recipe", &c.recipe,
           "named set of defaults; `tacit pretrain METHOD --help` lists them (default by the images: small-images if "
           "they have up to 64 pixels, else folder)",
           trajectory);
  for (const MethodEntry& entry : method_entries()) entry.add_settings(s, c);
  s.group("Data")
      .add("data", &c.data, kDataHelp, place)
      .add("test-data", &c.test_data, "SPEC of the test split where the data has none", place)
      .add("split", &c.split, "train, test, unlabeled or all", trajectory)
      .add("limit", &c.limit, "only the first N images of a fixed shuffle (0: all)", trajectory)
      .add("no-labels", &c.no_labels, "ignore labels, and with them the class directories of a folder", trajectory)
      .add("max-pixels", &c.max_pixels, "refuse larger images before decoding them", trajectory)
      .add("max-damaged", &c.max_damaged,
           "fraction of unreadable images at which to stop; fewer are replaced and named")
      .add("cache", &c.cache, "FILE or DIR that keeps decoded images, their shorter side 8/7 of --image-size", place);
  s.group("Augmentation")
      .add("image-size", &c.image_size, "side of the square the encoder sees (0: the data's, at most 64)", trajectory)
      .add("channels", &c.channels, "1 (gray) or 3 (0: the data's)", trajectory)
      .add("augmentation", &c.augmentation, "policy of the views: " + join(augmentation_names()), trajectory)
      .add("augment-on", &c.augment_on, "what makes the views: cpu, or the device; the same to 1/255", trajectory);
  s.group("Encoder")
      .add("encoder", &c.encoder, join(nn::encoder_names()), trajectory)
      .add("encoder-width", &c.encoder_width, "channels of the first stage (0: as published)", trajectory)
      .add("stem", &c.stem, "of a ResNet: cifar, imagenet or auto (cifar up to 64 pixels)", trajectory)
      .add("zero-init-residual", &c.zero_init_residual, "of a ResNet: residual branches start as nothing", trajectory)
      .add("patch-size", &c.patch_size, "of a ViT (0: by the image's size, 4 for 32 pixels)", trajectory)
      .add("pool", &c.pool,
           "a ViT's features: cls (class token), mean (of the patch tokens, then normalised) or mean-after-norm",
           trajectory)
      .add("checkpoint-activations", &c.checkpoint_activations,
           "ResNets, ViTs: compute each block again in the backward pass instead of keeping it: less memory, more time")
      .add("init", &c.init,
           "initial encoder weights, FILE.safetensors of tacit, torchvision, timm, MAE, MoCo and others "
           "(docs/weights.md)",
           place);
  s.group("Optimisation")
      .add("epochs", &c.epochs, "length of the schedule", trajectory)
      .add("batch-size", &c.batch_size, "images a step", trajectory)
      .add("optimizer", &c.optimizer, "adamw, sgd or lars", trajectory)
      .add("lr", &c.lr, "peak learning rate", trajectory)
      .add("base-lr", &c.base_lr, "the same for a batch of 256: lr = base-lr * batch-size / 256", trajectory)
      .add("weight-decay", &c.weight_decay, "on weights; on biases and norms only with --decay-all", trajectory)
      .add("decay-all", &c.decay_all, "weight decay on every parameter", trajectory)
      .add("sgd-momentum", &c.sgd_momentum, "momentum of --optimizer sgd and lars", trajectory)
      .add("nesterov", &c.nesterov, "Nesterov's momentum, of --optimizer sgd", trajectory)
      .add("lars-variant", &c.lars_variant,
           "where the learning rate stands: byol (outside the buffer) or simclr (inside)", trajectory)
      .add("trust-coefficient", &c.trust_coefficient, "of --optimizer lars", trajectory)
      .add("beta2", &c.beta2, "of --optimizer adamw: decay of the squared gradients' mean", trajectory)
      .add("schedule", &c.schedule, "of the learning rate after the warm-up: cosine to 0, or steps", trajectory)
      .add("lr-drop-epochs", &c.lr_drop_epochs, "of --schedule steps: after these epochs the rate drops, e.g. 60,120",
           trajectory)
      .add("lr-drop-factor", &c.lr_drop_factor, "by this factor", trajectory)
      .add("warmup-epochs", &c.warmup_epochs, "epochs of linear warm-up", trajectory)
      .add("warmup-fraction", &c.warmup_fraction, "the same as a fraction of the schedule", trajectory)
      .add("clip", &c.clip, "largest norm of the gradient (0: unlimited)", trajectory)
      .add("precision", &c.precision,
           "of products: fp32, or on a GPU tf32 or bf16, which round their operands to 10 or 7 bits; with bf16 "
           "activations are bf16 too",
           trajectory)
      .add("cuda-graph", &c.cuda_graph,
           "on a GPU: capture a step as a graph and repeat it, which takes less of the host; the same bits");
  s.group("Run")
      .add("seed", &c.seed, "of weights, order and views", trajectory)
      .add("device", &c.device, "cpu, cuda, cuda:1 or reference (default: cuda where a GPU works, else cpu)", place)
      .add("steps", &c.steps,
           "stop after N steps; the schedule still spans --epochs; kept until a resume gives another")
      .add("stop-after-epochs", &c.stop_after_epochs, "the same in epochs")
      .add("log-every", &c.log_every, "steps a line of metrics.jsonl")
      .add("eval-every", &c.eval_every, "epochs between evaluations on a subset, by kNN and a linear probe (0: none)")
      .add("save-every", &c.save_every, "epochs between checkpoints")
      .add("save-every-steps", &c.save_every_steps, "steps between checkpoints, besides those (0: none)")
      .add("threads", &c.threads, "CPU threads (0: all cores)")
      .add("memory-limit", &c.memory_limit, "such as 6G; default: the cgroup's or 90 % of what is available")
      .add("quiet", &c.quiet, "no progress")
      .add("out", &c.out, "the run directory to make", Effect::Session)
      .add("resume", &c.resume, "go on with the run in --out, under its config.toml", Effect::Session)
      .add("json", &c.json,
           "write the figures of the last step, and the loss as the mean of the last epoch's loss_steps, to this file "
           "(-: stdout)",
           Effect::Session);
  s.of_method(&c.method);
  s.used_if(
      "", "lr-drop-epochs", [&c] { return c.schedule == "steps" || c.lr_drop_epochs.empty(); },
      "--lr-drop-epochs is of --schedule steps; --schedule cosine has no drops");
  s.used_if(
      "", "lr-drop-factor", [&c] { return c.schedule == "steps"; },
      "--lr-drop-factor is of --schedule steps; --schedule cosine has no drops");
  s.used_if(
      "", "nesterov", [&c] { return c.optimizer == "sgd"; },
      "--nesterov is of --optimizer sgd; adamw and lars have no such choice");
  s.used_if(
      "", "zero-init-residual", [&c] { return !c.zero_init_residual || nn::is_resnet(c.encoder); },
      "--zero-init-residual is of a ResNet; the other encoders have no residual branches that end in a norm");
  s.used_if(
      "", "checkpoint-activations",
      [&c] { return !c.checkpoint_activations || nn::is_resnet(c.encoder) || nn::is_vit(c.encoder); },
      "--checkpoint-activations is of ResNets and ViTs, which are made of blocks");
  s.used_if(
      "", "patch-size", [&c] { return nn::is_vit(c.encoder); },
      "--patch-size is of a ViT; the other encoders have no patches");
  s.used_if(
      "", "pool", [&c] { return nn::is_vit(c.encoder) || c.pool == "cls"; },
      "--pool is of a ViT; the other encoders average their last map");
  s.exclusive("lr", "base-lr").exclusive("warmup-epochs", "warmup-fraction");
  return s;
}

void validate(const TrainConfig& c) {
  const MethodEntry& method = method_entry(c.method);
  check(!c.data.empty(), "--data is required: a path, kind:path, fashion-mnist or synthetic[:N]");
  check_specs("data", c.data);
  if (!c.test_data.empty()) check_specs("test-data", {c.test_data});
  parse_split(c.split);
  check_choice("encoder", c.encoder, nn::encoder_names());
  check_choice("stem", c.stem, {"auto", "cifar", "imagenet"});
  check(c.stem == "auto" || nn::is_resnet(c.encoder),
        "--stem " + c.stem + " is of a ResNet; --encoder " + c.encoder + " has no such choice");
  const bool vit = nn::is_vit(c.encoder);
  check_choice("pool", c.pool, {"cls", "mean", "mean-after-norm"});
  check_range<int64_t>("patch-size", c.patch_size, 0, 1024);
  if (vit && c.image_size > 0) {
    const int64_t patch = patch_size_of(c);
    check(c.image_size % patch == 0, "--patch-size " + std::to_string(patch) + " does not divide --image-size " +
                                         std::to_string(c.image_size) + "; choose a divisor, or another size");
  }
  check_choice("augmentation", c.augmentation, augmentation_names());
  check_choice("augment-on", c.augment_on, {"cpu", "device"});
  check_range("max-damaged", c.max_damaged, 0., 1.);
  check_range<int64_t>("encoder-width", c.encoder_width, 0, 4096);
  as_usage("--encoder-width: ", [&] { nn::check_encoder_width(c.encoder, c.encoder_width); });
  check_range<int64_t>("limit", c.limit, 0, INT64_MAX);
  check_range<int64_t>("max-pixels", c.max_pixels, 1, INT64_MAX);
  check(c.image_size == 0 || (c.image_size >= 8 && c.image_size <= 1024),
        "--image-size must lie between 8 and 1024 (or be 0: the data's), got " + std::to_string(c.image_size));
  check(c.channels == 0 || c.channels == 1 || c.channels == 3,
        "--channels must be 0 (the data's), 1 or 3, got " + std::to_string(c.channels));
  check_range<int64_t>("epochs", c.epochs, 1, kMostEpochs);
  check_range<int64_t>("batch-size", c.batch_size, 1, 1 << 20);
  check_range<int64_t>("seed", c.seed, 0, INT64_MAX);
  check_range<int64_t>("steps", c.steps.value_or(0), 0, INT64_MAX);
  check_range<int64_t>("stop-after-epochs", c.stop_after_epochs.value_or(0), 0, INT64_MAX);
  check_range<int64_t>("log-every", c.log_every, 1, INT64_MAX);
  check_range<int64_t>("eval-every", c.eval_every, 0, INT64_MAX);
  check_range<int64_t>("save-every", c.save_every, 1, INT64_MAX);
  check_range<int64_t>("save-every-steps", c.save_every_steps, 0, INT64_MAX);
  check_range<int64_t>("threads", c.threads, 0, 4096);
  check_optimisation(c);
  const auto views = static_cast<int64_t>(augmentation(c.augmentation, 32, 3).size());
  check(views == method.views || c.augmentation == "none", "--augmentation " + c.augmentation + " makes " +
                                                               counted(views, "view") + " of an image, " + c.method +
                                                               " needs " + std::to_string(method.views));
  if (method.check) method.check(c);
}

void check_specs(const char* flag, const std::vector<std::string>& specs) {
  for (const std::string& spec : specs) as_usage(std::string("--") + flag + ": ", [&] { check_spec(spec); });
}

Split parse_split(const std::string& name) {
  check_choice("split", name, {"train", "test", "unlabeled", "all"});
  if (name == "train") return Split::Train;
  if (name == "test") return Split::Test;
  return name == "all" ? Split::All : Split::Unlabeled;
}

}  // namespace tacit::ssl
