// MoCo: the loss by hand, when the key encoder moves, what the queue holds, the shuffle, the symmetric loss, v3 and its
// frozen patch embedding.
#include <doctest/doctest.h>

#include "autograd/ops.h"
#include "optim/adamw.h"
#include "optim/ema.h"
#include "optim/sgd.h"
#include "ssl/methods/moco.h"
#include "tensor/random.h"
#include "tests/momentum.h"

using namespace tacit;
using namespace tacit::ssl;
using namespace tacit::testing;

namespace {

MoCoOptions tiny_options() {
  return {.temperature = 0.2, .queue_size = 2 * kImages, .momentum = 0.9, .projector = {16, 6}};
}

/// In f64; online and key branch differ.
MoCo tiny_moco(const MoCoOptions& options) {
  MoCo model(tiny_encoder(options.bn_splits), options);
  model.to(f64);
  disturb(model);
  return model;
}

Branch tiny_branch(const MoCoOptions& o) {
  const bool v3 = o.variant == "v3";
  return {tiny_encoder(o.bn_splits),
          o.projector,
          {.batch_norm = o.projector_batch_norm || v3, .last_batch_norm = v3, .splits = o.bn_splits}};
}

}  // namespace

TEST_CASE("MoCo: loss and gradient by hand; keys from the averaged encoder, negatives from the queue before them") {
  const MoCoOptions options = tiny_options();
  MoCo model = tiny_moco(options);
  const std::vector<Tensor> views = tiny_views();
  Branch online = rebuilt(model, "online", tiny_branch(options));
  const Tensor queue = state(model, "queue");
  const Variable loss = model.loss(views, {0, 1});
  Branch key = rebuilt(model, "key", tiny_branch(options));  // averaged by now
  const Tensor k = l2_normalize(key(views[1])).value();
  const Variable expected = queue_loss(l2_normalize(online(views[0])), k, queue, options.temperature);
  CHECK(loss.item() == doctest::Approx(expected.item()).epsilon(1e-12));
  loss.backward();
  expected.backward();
  CHECK(gradient_difference(model, "online", online) < 1e-12);
  CHECK(max_abs_difference(state(model, "queue").slice(0, 0, kImages), k) < 1e-12);
}

TEST_CASE("MoCo: the key encoder moves once a step, in loss(), by the parameters of before the step") {
  for (const bool symmetric : {false, true}) {
    MoCoOptions options = tiny_options();
    options.symmetric = symmetric;
    MoCo model = tiny_moco(options);
    optim::SGD sgd(model, {.lr = 0.1});
    for (int step = 0; step < 2; ++step) {
      const nn::StateDict before = nn::state_dict(model);
      const Variable loss = model.loss(tiny_views(), {step, 2});
      CHECK(average_error(model, before, "key", 0.9, before) < 1e-14);
      const nn::StateDict key = part(model, "key");
      loss.backward();
      sgd.step();
      model.after_step({step, 2});
      CHECK(difference(part(model, "key"), key) == 0);
      CHECK(difference(part(model, "online"), key) > 1e-3);
      model.zero_grad();
    }
  }
}

TEST_CASE("MoCo: the queue begins as unit rows; keys replace the oldest, round and round") {
  const MoCoOptions options = tiny_options();
  MoCo model = tiny_moco(options);
  const Tensor start = state(model, "queue");
  CHECK(max_abs_difference(sum(start * start, {1}), Tensor::ones({2 * kImages}, f64)) < 1e-6);
  CHECK(std::abs(mean(start).item()) < 0.1);  // in every direction
  std::vector<Tensor> keys;
  for (int step = 0; step < 3; ++step) {
    model.loss(tiny_views(static_cast<uint64_t>(step)), {step, 3});
    CHECK(state(model, "queue_ptr").item() == static_cast<double>((step + 1) % 2 * kImages));
    const Tensor queue = state(model, "queue");
    const Tensor first = queue.slice(0, 0, kImages), second = queue.slice(0, kImages, 2 * kImages);
    keys.push_back(step % 2 == 0 ? first : second);
    CHECK(max_abs_difference(sum(keys.back() * keys.back(), {1}), Tensor::ones({kImages}, f64)) < 1e-12);
    if (step == 0) CHECK(max_abs_difference(second, start.slice(0, kImages, 2 * kImages)) == 0);
    if (step == 1) CHECK(max_abs_difference(first, keys[0]) == 0);
    if (step == 2) CHECK(max_abs_difference(second, keys[1]) == 0);
    if (step == 2) CHECK(max_abs_difference(first, keys[0]) > 0.01);
  }
  CHECK(mentions(error_of([&] { model.loss(tiny_views(0, 6), {}); }), "a queue of 16 is not a multiple of the 6 keys"));
}

TEST_CASE("MoCo: keys are normalised in shuffled groups and come back in order") {
  MoCoOptions options = tiny_options();
  options.projector_batch_norm = true;
  options.bn_splits = 2;
  options.seed = 5;
  MoCo model = tiny_moco(options);
  const Tensor view = tiny_views()[1];
  Branch key = rebuilt(model, "key", tiny_branch(options)), plain = key;
  Branch online = rebuilt(model, "online", tiny_branch(options));
  optim::ema_update_(key, online, options.momentum);
  optim::ema_update_(plain, online, options.momentum);
  model.loss(tiny_views(), {3, 10});
  const Tensor enqueued = state(model, "queue").slice(0, 0, kImages);

  std::vector<int64_t> order = {0, 1, 2, 3, 4, 5, 6, 7};
  Random random(5, random_stream("MoCo shuffle", 3, 1));
  shuffle(order, random);
  CHECK(order != std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 7});
  const Tensor keys = l2_normalize(key(index_select(view, 0, Tensor::from(order, {kImages})))).value();
  for (int64_t i = 0; i < kImages; ++i)
    CHECK(max_abs_difference(enqueued.select(0, order[static_cast<size_t>(i)]), keys.select(0, i)) < 1e-12);
  CHECK(max_abs_difference(enqueued, l2_normalize(plain(view)).value()) > 1e-3);  // other groups, other statistics
}

TEST_CASE("MoCo: symmetric is the sum of both directions; both views' keys enter after both losses") {
  MoCoOptions options = tiny_options();
  MoCo one = tiny_moco(options), other = one;
  options.symmetric = true;
  MoCo both = tiny_moco(options);
  const std::vector<Tensor> views = tiny_views();
  const Variable sum = both.loss(views, {0, 1}), first = one.loss(views, {0, 1}),
                 second = other.loss({views[1], views[0]}, {0, 1});
  CHECK(sum.item() == doctest::Approx(first.item() + second.item()).epsilon(1e-12));
  sum.backward();
  first.backward();
  second.backward();
  const auto gradients = both.named_parameters(), a = one.named_parameters(), b = other.named_parameters();
  for (size_t i = 0; i < gradients.size(); ++i) {
    if (gradients[i].first.rfind("online.", 0) != 0) continue;
    const Tensor expected = a[i].second->variable().grad() + b[i].second->variable().grad();
    CHECK(max_abs_difference(gradients[i].second->variable().grad(), expected) < 1e-12);
  }
  const Tensor queue = state(both, "queue");
  CHECK(max_abs_difference(queue.slice(0, 0, kImages), state(other, "queue").slice(0, 0, kImages)) < 1e-12);
  CHECK(max_abs_difference(queue.slice(0, kImages, 2 * kImages), state(one, "queue").slice(0, 0, kImages)) < 1e-12);
  CHECK(state(both, "queue_ptr").item() == 0);
  CHECK(both.chance(kImages).loss == doctest::Approx(2 * std::log(17.0)));
  CHECK(one.chance(kImages).loss == doctest::Approx(std::log(17.0)));
}

TEST_CASE("MoCo v3: no queue, both directions, predictor; the key encoder's momentum rises to 1") {
  MoCoOptions options = tiny_options();
  options.variant = "v3";
  options.temperature = 0.5;
  options.predictor = {12, 6};
  MoCo model = tiny_moco(options), swapped = model;
  CHECK(nn::state_dict(model).count("queue") == 0);
  const std::vector<Tensor> views = tiny_views();
  Branch online = rebuilt(model, "online", tiny_branch(options));
  nn::MLP predictor = rebuilt(model, "predictor", nn::MLP(6, {12, 6}, {.last_bias = false}));
  const nn::StateDict before = nn::state_dict(model);
  const Variable loss = model.loss(views, {3, 10});
  CHECK(average_error(model, before, "key", optim::cosine_momentum(3, 10, 0.9), before) < 1e-14);
  Branch key = rebuilt(model, "key", tiny_branch(options));
  const auto query = [&](const Tensor& x) { return l2_normalize(predictor(online(x))); };
  const auto keys = [&](const Tensor& x) { return l2_normalize(key(x)).value(); };
  const Variable expected =
      batch_loss(query(views[0]), keys(views[1]), 0.5) + batch_loss(query(views[1]), keys(views[0]), 0.5);
  CHECK(loss.item() == doctest::Approx(expected.item()).epsilon(1e-12));
  loss.backward();
  expected.backward();
  CHECK(gradient_difference(model, "online", online) < 1e-12);
  CHECK(gradient_difference(model, "predictor", predictor) < 1e-12);
  CHECK(swapped.loss({views[1], views[0]}, {3, 10}).item() == doctest::Approx(loss.item()).epsilon(1e-12));
  CHECK(model.chance(kImages).loss == doctest::Approx(4 * 0.5 * std::log(8.0)));
}

TEST_CASE("MoCo: with --stop-grad-conv1 a ViT's patch embedding never changes, while all else learns") {
  const auto patches = [](const std::string& name) { return mentions(name, "patch_embed."); };
  for (const bool stop : {true, false}) {
    CAPTURE(stop);
    MoCoOptions options = tiny_options();
    options.variant = "v3";
    options.predictor = {12, 6};
    options.predictor_last_batch_norm = true;
    options.stop_grad_conv1 = stop;
    MoCo model(nn::make_encoder({.name = "vit_micro", .width = 32, .image_size = 16, .patch_size = 8, .seed = 1}),
               options);
    optim::AdamW optimizer(optim::single_group(model, 0.5), {.lr = 0.1});  // as the recipe: decay on everything
    const nn::StateDict before = nn::state_dict(model);
    for (int64_t step = 0; step < 3; ++step) {
      const Variable loss = model.loss(tiny_views(static_cast<uint64_t>(step), kImages, f32), {step, 10});
      optimizer.zero_grad();
      loss.backward();
      optimizer.step();
      model.after_step({step, 10});
    }
    int embeddings = 0, others = 0;
    const nn::StateDict after = nn::state_dict(model);
    for (const auto& named : model.named_parameters()) {
      CAPTURE(named.first);
      const bool changed = max_abs_difference(after.at(named.first), before.at(named.first)) > 0;
      if (patches(named.first)) {
        CHECK(changed == !stop);
        ++embeddings;
      } else if (mentions(named.first, "weight")) {
        CHECK(changed);
        ++others;
      }
    }
    CHECK(embeddings == 4);  // weight and bias, online and key
    CHECK(others > 40);
    // A random projection, not a projection of zeros.
    CHECK(sum(square(before.at("online.encoder.patch_embed.proj.weight"))).item() > 1);
    CHECK(model.describe(1000, kImages).size() == (stop ? 1 : 0));
    MoCo copy = model;  // stays what it was
    for (const auto& named : copy.named_parameters())
      if (patches(named.first) && mentions(named.first, "online."))
        CHECK(named.second->variable().requires_grad() == !stop);
  }
}

TEST_CASE("MoCo: options out of range are refused; the variant is one of three") {
  const auto message = [](const MoCoOptions& options) { return error_of([&] { MoCo(tiny_encoder(), options); }); };
  CHECK(mentions(message({.variant = "v4"}), "unknown variant 'v4'"));
  CHECK(mentions(message({.temperature = 0}), "temperature"));
  CHECK(mentions(message({.momentum = 1.5}), "momentum"));
  CHECK(mentions(message({.queue_size = 0}), "queue"));
  CHECK(mentions(message({.variant = "v3", .projector = {16, 6}, .predictor = {16, 5}}), "must be the projector's, 6"));
  CHECK(mentions(message({.stop_grad_conv1 = true}), "no patch embedding"));
}

TEST_CASE("info_nce: many candidates are taken in blocks of rows, and the loss and gradient are those of the whole") {
  // 5 rows of 2^20 logits: blocks of 4 and 1. (One kernel has no blocks, and the emulated device is slow.)
  const int64_t logits = default_device().backend().supports(Fused::Contrast) ? 1 << 14 : 1 << 20;
  const Tensor k = l2_normalize(Tensor::normal({logits - 1, 2}, 1, 1, f64)),
               positive = l2_normalize(Tensor::normal({5, 2}, 1, 2, f64));
  const Variable q = Variable::leaf(l2_normalize(Tensor::normal({5, 2}, 1, 3, f64))), same = Variable::leaf(q.value());
  Tensor top1;
  const Variable loss = info_nce(q, k, positive, {0, 0, 0, 0, 0}, 0.1, &top1);
  const Variable expected = queue_loss(same, positive, k, 0.1);
  CHECK(loss.item() == doctest::Approx(expected.item()).epsilon(1e-12));
  CHECK(top1.item() == 0);  // of so many others one is nearer
  (loss * 3.0).backward();
  expected.backward();
  CHECK(max_abs_difference(q.grad(), same.grad() * 3.0) < 1e-12);
  CHECK(info_nce(q, q.value(), {}, {0, 1, 2, 3, 4}, 0.1, &top1).item() > 0);
  CHECK(top1.item() == doctest::Approx(1));
  CHECK(mentions(error_of([&] { info_nce(q, k, positive, {0}, 0.1); }), "do not belong together"));
  CHECK(mentions(error_of([&] { info_nce(q, k, positive, {0, 0, 0, 0, 0}, 0); }), "temperature"));
}
