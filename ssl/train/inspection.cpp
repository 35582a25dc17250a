#include "ssl/train/inspection.h"

#include <algorithm>
#include <cctype>
#include <numeric>

#include "nn/eval_mode.h"
#include "ssl/data/some_indices.h"
#include "ssl/train/picture.h"

namespace tacit::ssl {

namespace {

constexpr int64_t kMostLooks = 100, kReconstructed = 8;

/// "encoder.layer1.0.conv1.weight" -> "encoder.layer1", "encoder.conv1.weight" -> "encoder.conv1": modules in a row are
/// taken together, and a tensor belongs to its module.
std::string module_of(const std::string& parameter) {
  std::string module;
  for (size_t begin = 0, end; (end = parameter.find('.', begin)) != std::string::npos; begin = end + 1) {
    if (std::isdigit(static_cast<unsigned char>(parameter[begin])) != 0) break;
    module = parameter.substr(0, end);
  }
  return module.empty() ? parameter : module;
}

}  // namespace

std::vector<std::pair<std::string, Histogram>> gradient_histograms(const optim::Optimizer& optimizer) {
  std::vector<std::pair<std::string, std::vector<Tensor>>> modules;
  for (const optim::ParamGroup& group : optimizer.groups())
    for (size_t i = 0; i < group.names.size(); ++i) {
      if (!group.parameters[i].grad().defined()) continue;
      const std::string name = "gradients/" + module_of(group.names[i]);
      auto module = std::find_if(modules.begin(), modules.end(), [&](const auto& m) { return m.first == name; });
      if (module == modules.end()) module = modules.insert(module, {name, {}});
      module->second.push_back(group.parameters[i].grad());
    }
  std::vector<std::pair<std::string, Histogram>> histograms;
  for (const auto& [name, gradients] : modules) histograms.emplace_back(name, histogram_of(gradients));
  return histograms;
}

Inspection::Inspection(const TrainConfig& config, ImageSourcePtr train, PlainViews views, PlainViews method_views)
    : train_(std::move(train)),
      views_(std::move(views)),
      method_views_(std::move(method_views)),
      epochs_(config.epochs),
      batch_(config.chunk_size > 0 ? config.chunk_size : config.batch_size),
      seed_(config.seed) {}

bool Inspection::due(const StepRecord& record) const {
  const int64_t every = (epochs_ + kMostLooks - 1) / kMostLooks;
  return record.step == 1 || (record.epoch_end && (record.epoch % every == 0 || record.epoch == epochs_));
}

// No more at a time than a step has: a look must not take the memory that the run was not checked for.
void Inspection::choose_images() {
  const int64_t count = std::min({train_->size(), batch_, views_.images_at_once()});
  const ImageSourcePtr chosen = subset(train_, some_indices(train_->size(), count, "inspection"));
  images_ = without_damaged(chosen, nullptr, 1);
}

void Inspection::look(int64_t step, Method& method, const optim::Optimizer& optimizer, RunDirectory& directory) {
  if (!images_) choose_images();
  if (images_->size() == 0) return;  // all of those chosen are damaged
  std::vector<std::pair<std::string, Histogram>> histograms;
  {
    nn::Encoder& encoder = method.encoder();
    const nn::EvalMode mode(encoder);
    const NoGrad no_grad;
    for_each_plain_batch(*images_, views_.normalisation, views_.image_size, views_.channels, images_->size(),
                         [&](const Tensor& images, int64_t) {
                           histograms.emplace_back("features", histogram_of({encoder(images).value()}));
                         });
  }
  for (auto& gradients : gradient_histograms(optimizer)) histograms.push_back(std::move(gradients));
  directory.log_histograms(step, histograms);

  std::vector<int64_t> first(static_cast<size_t>(std::min(kReconstructed, images_->size())));
  std::iota(first.begin(), first.end(), int64_t{0});
  const std::vector<PictureColumn> columns =
      reconstruction(method, *subset(images_, first), method_views_, static_cast<uint64_t>(seed_));
  if (!columns.empty())
    directory.log_picture(step, "reconstruction", columns_sheet(columns, method_views_.normalisation));
}

}  // namespace tacit::ssl
