#include "ssl/evaluate/linear.h"

#include <algorithm>
#include <numeric>

#include "optim/adamw.h"
#include "optim/schedule.h"
#include "tensor/ops.h"
#include "tensor/random.h"

namespace tacit::ssl {
namespace {

/// Weights (rates, classes, D + 1) of one linear layer per learning rate, trained side by side: one product makes the
/// logits of all, one their gradients. The design's rows are in random order already; batches are slices of it.
Tensor train_layers(const Tensor& design, const std::vector<int64_t>& labels, int64_t classes,
                    const std::vector<double>& rates, const LinearProbeOptions& options) {
  const auto count = static_cast<int64_t>(rates.size());
  const int64_t n = design.size(0), width = design.size(1), wide = count * classes;
  const Tensor weights = Tensor::zeros({count, classes, width}, f32, design.device());
  std::vector<optim::ParamGroup> groups;
  for (int64_t r = 0; r < count; ++r) {
    const Variable layer = Variable::leaf(weights.select(0, r));  // shares memory: the optimiser writes into `weights`
    groups.push_back({"rate", {"weight." + std::to_string(r)}, {layer}, 0, rates[static_cast<size_t>(r)]});
  }
  optim::AdamW optimizer(groups, {.lr = 1});

  const Tensor targets = scatter_add({n, 1, classes}, 2, Tensor::from(labels, {n, 1, 1}, design.device()),
                                     Tensor::ones({n, 1, 1}, f32, design.device()));
  std::vector<int64_t> starts;
  for (int64_t lo = 0; lo < n; lo += options.batch_size) starts.push_back(lo);
  const int64_t steps = options.epochs * static_cast<int64_t>(starts.size());
  int64_t step = 0;
  for (int64_t epoch = 0; epoch < options.epochs; ++epoch)
    for (const int64_t lo :
         shuffled(starts, options.seed, random_stream("linear probe", static_cast<uint64_t>(epoch)))) {
      const int64_t hi = std::min(n, lo + options.batch_size), rows = hi - lo;
      const Tensor x = design.slice(0, lo, hi);
      const Tensor p = softmax(matmul(x, weights.reshape({wide, width}).t()).reshape({rows, count, classes}));
      const Tensor residual = (p - targets.slice(0, lo, hi)) * (1.0 / static_cast<double>(rows));
      const Tensor gradient = matmul(residual.reshape({rows, wide}).t(), x).reshape({count, classes, width});
      for (int64_t r = 0; r < count; ++r) groups[static_cast<size_t>(r)].parameters[0].set_grad(gradient.select(0, r));
      optimizer.set_lr(optim::warmup_cosine(step++, 0, steps, 1));
      optimizer.step();
    }
  return weights;
}

/// Most probable class of every row for one layer (classes, D + 1).
std::vector<int64_t> classify(const Tensor& design, const Tensor& weight) {
  return argmax(matmul(design, weight.t())).to_vector<int64_t>();
}

void check(const LinearProbeOptions& options) {
  TACIT_CHECK(!options.learning_rates.empty(), "[linear probe] no learning rate to try");
  for (const double lr : options.learning_rates)
    TACIT_CHECK(lr > 0, "[linear probe] learning rate ", lr, " must be above 0");
  TACIT_CHECK(options.validation_fraction > 0 || options.learning_rates.size() == 1, "[linear probe] ",
              options.learning_rates.size(), " learning rates and no images held out to choose by");
  TACIT_CHECK(options.epochs >= 1 && options.batch_size >= 1, "[linear probe] ", options.epochs,
              " epochs of batches of ", options.batch_size, "; both must be at least 1");
}

}  // namespace

LinearProbeResult linear_probe(const FeatureSet& train, const FeatureSet& test, const LinearProbeOptions& options) {
  check(options);
  check_same_dimensions("linear probe", train, test);
  const int64_t classes = check_labelled(train.labels, "the training split");
  check_labelled(test.labels, "the test split");
  const Standardizer standardizer(train.features);
  const uint64_t stream = random_stream("linear probe");

  LinearProbeResult result;
  result.best_lr = options.learning_rates[0];
  if (options.validation_fraction > 0) {
    const HeldOut parts = hold_out(train.labels, classes, options.validation_fraction, options.seed);
    const auto rows = shuffled(parts.train, options.seed, stream);
    const Tensor weights = train_layers(standardizer.design(train.features, rows), take(train.labels, rows), classes,
                                        options.learning_rates, options);
    const Tensor held = standardizer.design(train.features, parts.validation);
    const auto labels = take(train.labels, parts.validation);
    double best = -1;
    for (size_t r = 0; r < options.learning_rates.size(); ++r) {
      const double top1 = accuracy(classify(held, weights.select(0, static_cast<int64_t>(r))), labels);
      result.sweep.push_back({options.learning_rates[r], top1});
      if (top1 > best) {
        best = top1;
        result.best_lr = options.learning_rates[r];
      }
    }
  }
  std::vector<int64_t> rows(static_cast<size_t>(train.size()));
  std::iota(rows.begin(), rows.end(), int64_t{0});
  rows = shuffled(rows, options.seed, stream);
  const Tensor weights = train_layers(standardizer.design(train.features, rows), take(train.labels, rows), classes,
                                      {result.best_lr}, options);
  result.predictions = classify(standardizer.design(test.features), weights.select(0, 0));
  result.top1 = accuracy(result.predictions, test.labels);
  return result;
}

}  // namespace tacit::ssl
