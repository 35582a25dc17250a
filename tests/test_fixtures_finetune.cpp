// tacit against timm, scikit-learn and SciPy: mixing, layer-wise decay, and what evaluation computes of features.
// The results are in fixtures/results_finetune.json; fixtures/finetune.py has the same names in the same order.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "autograd/ops.h"
#include "nn/encoder_layers.h"
#include "ssl/evaluate/clustering.h"
#include "ssl/evaluate/pca.h"
#include "ssl/train/mixup.h"
#include "tests/fixtures.h"

using namespace tacit;
using namespace tacit::ssl;
using namespace tacit::testing;

namespace {

Tensor labels_of(const std::string& name, int64_t n, int64_t classes) { return argmax(draw(name, {n, classes}, f64)); }
Tensor number(double x) { return Tensor::full({1}, x, f64); }
/// 0.85 as Python prints it.
std::string text(double x) { return x == 0 ? "0.0" : std::to_string(x).substr(0, x == 0.85 ? 4 : 3); }

}  // namespace

TEST_CASE("timm: mixup and CutMix, images, lambda, the loss with soft smoothed labels and its gradient") {
  in_both(1e-12, 1e-5, [](DType t, double tolerance) {
    const Tensor images = draw("mix images", {6, 8, 12, 3}, t), labels = labels_of("mix labels", 6, 5);
    for (const double lambda : {0.3, 0.85}) {
      Mix mix;
      mix.lambda = lambda;
      const std::string of_lambda = "mix " + text(lambda);
      check_fixture(of_lambda + " images", mix_images(images, mix), tolerance);
      for (const double smoothing : {0.0, 0.1}) {
        const std::string name = of_lambda + " " + text(smoothing);
        const Variable logits = leaf("mix logits", {6, 5}, t);
        const Variable loss = mixed_cross_entropy(logits * 3.0, labels, mix, smoothing);
        loss.backward();
        check_fixture(name + " loss", loss.value(), tolerance);
        check_fixture(name + " dlogits", logits.grad(), tolerance);
      }
      for (const auto& centre : {std::pair<int64_t, int64_t>(0, 11), std::pair<int64_t, int64_t>(4, 5)}) {
        const Mix cut = cut_box(lambda, 8, 12, centre.first, centre.second);
        const std::string name = "cut " + text(lambda) + " " + std::to_string(centre.first);
        check_fixture(name + " images", mix_images(images, cut), tolerance);
        check_fixture(name + " lambda", number(cut.lambda), tolerance);
      }
    }
  });
}

TEST_CASE("BEiT and MAE: layer-wise decay of every parameter of a ViT") {
  nn::Encoder vit =
      nn::make_encoder({.name = "vit_tiny", .image_size = 32, .patch_size = 4, .pool = "mean", .position = "learned"});
  std::vector<std::string> names;
  for (const auto& named : vit.named_parameters()) names.push_back(named.first);
  std::sort(names.begin(), names.end());
  std::vector<double> scales;
  for (const std::string& name : names)
    scales.push_back(std::pow(0.65, static_cast<double>(nn::head_layer(vit) - nn::encoder_layer(vit, name))));
  check_fixture("layer decay scales", Tensor::from(scales, {static_cast<int64_t>(scales.size())}), 1e-12);
}

TEST_CASE("scikit-learn and SciPy: mutual information, clusters as classes, principal components") {
  const auto a = labels_of("nmi a", 200, 7).to_vector<int64_t>();
  auto b = labels_of("nmi b", 200, 5).to_vector<int64_t>();
  for (size_t i = 0; i < 120; ++i) b[i] = a[i] % 5;
  check_fixture("nmi", number(normalized_mutual_information(a, b)), 1e-12);
  check_fixture("cluster accuracy", number(cluster_accuracy(a, b)), 1e-12);

  const Tensor x = draw("pca x", {60, 9}, f64) * (Tensor::arange(9, i64).to(f64) + 1.0) + draw("pca mean", {9}, f64);
  const Pca pca = principal_components(x);
  check_fixture("pca explained", Tensor::from(pca.explained, {2}), 1e-10);
  check_fixture("pca projected", pca.project(x), 1e-10);
}

TEST_CASE("MAE's probe: standardised features are those of batch norm without affine parameters") {
  const Tensor x = draw("pca x", {60, 9}, f64) * (Tensor::arange(9, i64).to(f64) + 1.0) + draw("pca mean", {9}, f64);
  const Tensor design = Standardizer(x.to(f32)).design(x.to(f32));
  check_fixture("probe norm", design.slice(1, 0, 9), 1e-5);
}
