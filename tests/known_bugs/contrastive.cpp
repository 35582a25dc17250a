// Bugs that contrastive losses and their targets are known for, each as a test that fails when it is put in.
#include <doctest/doctest.h>

#include <cmath>

#include "autograd/ops.h"
#include "ssl/methods/simclr.h"
#include "tests/known_bugs/models.h"

using namespace tacit;
using namespace tacit::ssl;
using namespace tacit::testing;

namespace {

/// Multiplies the last layer of each head below `prefix` (its weight and, if it has one, its bias).
void scale_last_layer(nn::Module& model, const std::string& prefix, double factor) {
  int found = 0;
  for (const auto& named : model.named_parameters())
    if (named.first == prefix + ".weight" || named.first == prefix + ".bias") {
      named.second->variable().assign_(named.second->value() * factor);
      ++found;
    }
  REQUIRE(found > 0);
}

}  // namespace

TEST_CASE("bug 1: the softmax of similarities is by log-sum-exp: finite at temperature 0.01 in f32") {
  const Variable equal = Variable::leaf(l2_normalize(Tensor::ones({8, 4})));
  const Variable loss = nt_xent(equal, 0.01);
  CHECK(loss.item() == doctest::Approx(std::log(7.0)));
  loss.backward();
  CHECK(std::isfinite(sum(equal.grad()).item()));
  const Variable q = Variable::leaf(l2_normalize(Tensor::ones({8, 4})));
  const Variable against_queue = info_nce(q, q.value(), q.value(), std::vector<int64_t>(8, 0), 0.01);
  CHECK(against_queue.item() == doctest::Approx(std::log(9.0)));
  against_queue.backward();
  CHECK(std::isfinite(sum(q.grad()).item()));
}

TEST_CASE("bug 2: a view is not its own negative, and its partner counts once") {
  // Two images in two views, by hand; unit vectors in the plane at 0, 90, 30 and 200 degrees.
  const double degrees[4] = {0, 90, 30, 200}, rad = std::acos(-1.0) / 180;
  std::vector<double> rows;
  for (const double a : degrees) rows.insert(rows.end(), {std::cos(a * rad), std::sin(a * rad)});
  double expected = 0;
  for (int i = 0; i < 4; ++i) {
    double others = 0;
    for (int j = 0; j < 4; ++j)
      if (j != i) others += std::exp(std::cos((degrees[i] - degrees[j]) * rad) / 0.5);
    expected += (std::log(others) - std::cos((degrees[i] - degrees[(i + 2) % 4]) * rad) / 0.5) / 4;
  }
  CHECK(nt_xent(Tensor::from(rows, {4, 2}), 0.5).item() == doctest::Approx(expected).epsilon(1e-12));
  // Unrelated directions: one chance among the 2N - 1 others.
  CHECK(std::abs(nt_xent(unit_rows(1024, 512), 1).item() - std::log(1023.0)) < 0.01);
}

TEST_CASE("bug 3: labels follow the batch that is there, not the one that was configured") {
  for (const int64_t images : {6, 3, 5}) {
    const Tensor half = unit_rows(images, 16);
    Tensor top1;
    nt_xent(concatenate(std::vector<Tensor>{half, half}, 0), 0.1, &top1);
    CHECK(top1.item() == doctest::Approx(1));
  }
  MoCo model = ready<MoCo>(moco_options("v3"));
  for (const int64_t images : {8, 5}) {
    const std::vector<Tensor> views = tiny_views(0, images);
    Branch online = rebuilt(model, "online", moco_branch(true));
    nn::MLP predictor = rebuilt(model, "predictor", nn::MLP(6, {12, 6}, {.last_bias = false}));
    const double loss = model.loss(views, {0, 1}).item();
    Branch key = rebuilt(model, "key", moco_branch(true));
    double expected = 0;
    for (size_t v = 0; v < 2; ++v)
      expected +=
          batch_loss(l2_normalize(predictor(online(views[v]))), l2_normalize(key(views[1 - v])).value(), 0.2).item();
    CHECK(loss == doctest::Approx(expected).epsilon(1e-12));
  }
}

TEST_CASE("bug 4: embeddings are normalised, each row by its own norm, with nothing added to it") {
  const std::vector<Tensor> views = tiny_views();
  SUBCASE("no loss changes when a head's output is scaled") {
    for (const double factor : {1e3, 1e-4}) {  // the second: an eps inside the root would show
      SimCLR simclr(tiny_encoder(), {.temperature = 0.2, .projector = {16, 6}});
      simclr.to(f64);
      SimCLR scaled = simclr;
      scale_last_layer(scaled, "projector.3", factor);
      CHECK(scaled.loss(views, {}).item() == doctest::Approx(simclr.loss(views, {}).item()).epsilon(1e-9));
      MoCo moco = ready<MoCo>(moco_options()), moco_scaled = moco;
      scale_last_layer(moco_scaled, "online.projector.2", factor);
      scale_last_layer(moco_scaled, "key.projector.2", factor);
      CHECK(moco_scaled.loss(views, {}).item() == doctest::Approx(moco.loss(views, {}).item()).epsilon(1e-9));
      BYOL byol = ready<BYOL>(byol_options()), byol_scaled = byol;
      scale_last_layer(byol_scaled, "predictor.3", factor);
      scale_last_layer(byol_scaled, "target.projector.3", factor);
      CHECK(byol_scaled.loss(views, {}).item() == doctest::Approx(byol.loss(views, {}).item()).epsilon(1e-9));
    }
  }
  SUBCASE("the losses are those of rows divided by their norms") {
    const auto by_rows = [](const Variable& x) { return x / sqrt(sum(x * x, {1}, true)); };
    SimCLR simclr(tiny_encoder(), {.temperature = 0.2, .projector = {16, 6}});
    simclr.to(f64);
    const double simclr_loss = simclr.loss(views, {}).item();
    const Variable z = simclr.project(simclr.encoder()(concatenate(views, 0)));
    CHECK(simclr_loss == doctest::Approx(nt_xent(by_rows(z), 0.2).item()).epsilon(1e-12));
    MoCo moco = ready<MoCo>(moco_options());
    Branch online = rebuilt(moco, "online", moco_branch(false));
    const Tensor queue = state(moco, "queue");
    const double moco_loss = moco.loss(views, {0, 1}).item();
    Branch key = rebuilt(moco, "key", moco_branch(false));
    const Tensor k = by_rows(key(views[1])).value();
    CHECK(moco_loss == doctest::Approx(queue_loss(by_rows(online(views[0])), k, queue, 0.2).item()).epsilon(1e-12));
    CHECK(max_abs_difference(state(moco, "queue").slice(0, 0, kImages), k) < 1e-12);
    BYOL byol = ready<BYOL>(byol_options());
    Branch byol_online = rebuilt(byol, "online", byol_branch()), target = rebuilt(byol, "target", byol_branch());
    nn::MLP predictor = rebuilt(byol, "predictor", nn::MLP(6, {12, 6}, {.last_bias = false}));
    double expected = 0;
    for (size_t v = 0; v < 2; ++v) {
      const Variable p = by_rows(predictor(byol_online(views[v]))), t = by_rows(target(views[1 - v]));
      expected += 2 - 2 * mean(sum(p * t, {1})).item();
    }
    CHECK(byol.loss(views, {0, 1}).item() == doctest::Approx(expected).epsilon(1e-12));
  }
}

TEST_CASE("bug 5: each loss has its paper's scale") {
  const std::vector<Tensor> views = tiny_views();
  // A head of zeros but for its bias gives every view one projection: the losses are then the chance levels.
  const auto without_features = [](nn::Module& model, const std::string& layer) {
    for (const auto& named : model.named_parameters()) {
      if (named.first == layer + ".weight") named.second->variable().assign_(named.second->value() * 0.0);
      if (named.first == layer + ".bias") named.second->variable().assign_(named.second->value() * 0.0 + 1.0);
    }
  };
  SimCLR simclr(tiny_encoder(), {.temperature = 0.2, .projector = {16, 6}});
  simclr.to(f64);
  without_features(simclr, "projector.3");
  CHECK(simclr.loss(views, {}).item() == doctest::Approx(std::log(2.0 * kImages - 1)));  // the mean over 2N rows
  CHECK(simclr.chance(kImages).loss == doctest::Approx(std::log(2.0 * kImages - 1)));
  // v3: 2 T times the sum of both directions.
  const Variable q = Variable::leaf(l2_normalize(Tensor::ones({4, 3}, f64)));
  CHECK(info_nce(q, q.value(), {}, {0, 1, 2, 3}, 0.2).item() == doctest::Approx(std::log(4.0)));
  MoCoOptions v3 = moco_options("v3");
  v3.temperature = 1e6;  // every similarity is 0: CE = log B
  CHECK(ready<MoCo>(v3).loss(views, {}).item() / (2e6 * 2) == doctest::Approx(std::log(8.0)).epsilon(1e-5));
  MoCoOptions symmetric = moco_options();
  symmetric.symmetric = true;
  symmetric.temperature = 1e6;
  CHECK(ready<MoCo>(symmetric).loss(views, {}).item() == doctest::Approx(2 * std::log(17.0)).epsilon(1e-5));
  // BYOL: the sum of both directions, each 2 - 2 cos: 8 where both are opposite.
  BYOL byol = ready<BYOL>(byol_options()), opposite = byol;
  scale_last_layer(opposite, "predictor.3", -1);
  CHECK(byol.loss(views, {}).item() + opposite.loss(views, {}).item() == doctest::Approx(8).epsilon(1e-12));
}

TEST_CASE("bug 6: symmetric losses look both ways: exchanging the views changes nothing") {
  const std::vector<Tensor> views = tiny_views(), swapped = {views[1], views[0]};
  const auto changed = [&](auto model) {
    auto other = model;
    return std::abs(model.loss(views, {0, 1}).item() - other.loss(swapped, {0, 1}).item());
  };
  SimCLR simclr(tiny_encoder(), {.temperature = 0.2, .projector = {16, 6}});
  simclr.to(f64);
  CHECK(changed(simclr) < 1e-10);
  CHECK(changed(ready<BYOL>(byol_options())) < 1e-10);
  CHECK(changed(ready<MoCo>(moco_options("v3"))) < 1e-10);
  MoCoOptions symmetric = moco_options();
  symmetric.symmetric = true;
  CHECK(changed(ready<MoCo>(symmetric)) < 1e-10);
  CHECK(changed(ready<MoCo>(moco_options())) > 1e-3);  // this one looks one way, and says so
}

TEST_CASE("bug 21: a batch in chunks has all of its negatives: the loss and gradient of the whole") {
  const std::vector<Tensor> views = tiny_views();
  const auto make = [](int64_t chunk) {
    SimCLR model(tiny_encoder(), {.temperature = 1e6, .projector = {16, 6}, .chunk_size = chunk});
    model.to(f64);
    return model;
  };
  // Every similarity is 0, so the loss counts the candidates; accumulated steps of 2 images would give log 3.
  CHECK(make(2).loss(views, {}).item() == doctest::Approx(std::log(2.0 * kImages - 1)).epsilon(1e-5));
  // In evaluation mode batch norm does not couple images, and chunks are invisible: the gradient is neither summed over
  // chunks nor averaged.
  SimCLR whole(tiny_encoder(), {.temperature = 0.2, .projector = {16, 6}}),
      chunked(tiny_encoder(), {.temperature = 0.2, .projector = {16, 6}, .chunk_size = 2});
  for (SimCLR* model : {&whole, &chunked}) {
    model->to(f64);
    model->eval();
    model->loss(views, {}).backward();
  }
  const auto ours = chunked.named_parameters(), theirs = whole.named_parameters();
  for (size_t i = 0; i < ours.size(); ++i)
    CHECK(max_abs_difference(ours[i].second->variable().grad(), theirs[i].second->variable().grad()) < 1e-12);
}
