// Whole training steps on a device that computes while the host goes on: what the host waits for, and what it is told
// late. On the CPU, which is never waited for, the same holds trivially.
#include <doctest/doctest.h>

#include <thread>

#include "autograd/ops.h"
#include "nn/eval_mode.h"
#include "nn/module.h"
#include "ssl/methods/moco.h"
#include "ssl/train/build.h"
#include "ssl/train/finetune.h"
#include "ssl/train/trainer.h"
#include "tensor/late_numbers.h"
#include "tensor/step_input.h"
#include "train.h"

namespace {

using namespace tacit;
using namespace tacit::ssl;
using testing::error_of;
using testing::mentions;
using testing::tiny_config;

TrainConfig config_of(const std::string& method) {
  TrainConfig c = tiny_config();
  c.method = method;
  apply_recipe(c, "small-images");
  c.data = {"synthetic:64"};
  c.image_size = 16;
  c.channels = 3;
  c.encoder_width = c.encoder.starts_with("vit") ? 16 : 4;
  c.projector = {8, 4};
  c.predictor = {8, 4};
  c.queue_size = 32;
  c.batch_size = 4;
  c.grid = 2;
  c.patch_features = 8;
  c.color_width = 8;
  c.decoder_dim = 16;
  c.decoder_depth = 1;
  c.decoder_heads = 2;
  c.clip = 1;
  return c;
}

/// A method in training on views that the host makes.
struct Steps {
  explicit Steps(TrainConfig c)
      : config(std::move(c)), method(make_method(config)), optimizer(make_optimizer(config, *method)) {
    views = static_cast<uint64_t>(method_entry(config.method).views);
    training.next = [this] {
      Batch batch;
      const Device host("cpu");
      const uint64_t number = made++;
      for (uint64_t v = 0; v < views; ++v)
        batch.views.push_back(
            Tensor::uniform({config.batch_size, config.image_size, config.image_size, 3}, v, number, f32, host)
                .to(default_device()));
      batch.indices.assign(static_cast<size_t>(config.batch_size), 0);
      return batch;
    };
    training.loss = [this](const Batch& b, const Progress& progress) { return method->loss(b.views, progress); };
    training.after_step = [this](const Progress& progress) { method->after_step(progress); };
    training.metrics = [this] { return method->metrics(); };
    training.lr = [](int64_t) { return 0.01; };
    training.optimizer = optimizer.get();
    training.steps = training.steps_per_epoch = 100;
    training.clip = config.clip;
    training.late = !default_device().backend().host_accessible();
  }

  /// What an evaluation, between two steps, has of the model: features of two images and of five, and gradients.
  void look(std::vector<std::vector<float>>& seen) {
    default_device().allocator().trim();
    nn::Encoder& encoder = method->encoder();
    const nn::EvalMode mode(encoder);
    const NoGrad no_grad;
    const int64_t channels = config.method == "colorization" ? 1 : 3;
    for (const int64_t n : {2, 5})
      seen.push_back(encoder(Tensor::uniform({n, config.image_size, config.image_size, channels}, 9, 9))
                         .value()
                         .to_vector<float>());
    for (const optim::ParamGroup& group : optimizer->groups())
      for (const Variable& parameter : group.parameters)
        if (parameter.grad().defined()) seen.push_back(parameter.grad().to_vector<float>());
  }

  TrainConfig config;
  std::unique_ptr<Method> method;
  std::unique_ptr<optim::Optimizer> optimizer;
  uint64_t views = 0, made = 0;
  Training training;
};

}  // namespace

TEST_CASE("a training step waits for nothing but the figures of the step before") {
  const Backend& backend = default_device().backend();
  for (const MethodEntry& entry : method_entries()) {
    CAPTURE(std::string(entry.name));
    Steps steps(config_of(entry.name));
    std::vector<int64_t> waits, allocations;
    steps.training.last = 6;
    steps.training.on_step = [&](StepRecord& record) {
      CHECK(record.metrics.count("grad_norm") == 1);
      waits.push_back(backend.waits());
      allocations.push_back(default_device().allocator().statistics().system_allocations);
    };
    train(steps.training);
    REQUIRE(waits.size() == 6);
    // The first steps take memory, and MoCo reads where its queue stands.
    for (size_t i = 3; i < 6; ++i) {
      CHECK(waits[i] - waits[i - 1] == (steps.training.late ? 1 : 0));
      CHECK(allocations[i] == allocations[i - 1]);
    }
  }
}

TEST_CASE("fine-tuning waits for nothing but the figures of the step before") {
  const ImageSourcePtr images = open_data({"synthetic:40"}, Split::Train);
  PlainViews views;
  views.normalisation = augmentation("none", 16, 3)[0];
  views.image_size = 16;
  FinetuneOptions options = finetune_recipe("mixup");
  options.min_steps = 6;
  options.epochs = 1;
  options.batch_size = 8;
  std::vector<int64_t> waits;
  FinetuneObserver observer;
  observer.step = [&](const StepRecord&) { waits.push_back(default_device().backend().waits()); };
  finetune(nn::make_encoder({.name = "small_cnn", .width = 4, .image_size = 16}), images, images, views, options,
           observer);
  REQUIRE(waits.size() == 6);
  for (size_t i = 3; i < 6; ++i)
    CHECK(waits[i] - waits[i - 1] == (default_device().backend().host_accessible() ? 0 : 1));
}

TEST_CASE("--cuda-graph: ten steps of every method have the same bits as without, and who looks on sees the same") {
  if (!default_device().backend().can_capture()) return;
  struct Case {
    const char* method;
    void (*change)(TrainConfig&);
  };
  const std::vector<Case> cases = {
      {"simclr", [](TrainConfig&) {}},
      {"simclr", [](TrainConfig& c) { c.chunk_size = 2; }},
      {"moco", [](TrainConfig&) {}},
      {"moco", [](TrainConfig& c) { c.variant = "v3", c.optimizer = "lars"; }},
      {"byol", [](TrainConfig& c) { c.optimizer = "sgd"; }},
      {"mae", [](TrainConfig&) {}},
      {"rotation", [](TrainConfig& c) { c.clip = 0; }},
      {"jigsaw", [](TrainConfig&) {}},
      {"colorization", [](TrainConfig&) {}},
  };
  for (const Case& wanted : cases) {
    TrainConfig config = config_of(wanted.method);
    wanted.change(config);
    CAPTURE(config.method);
    CAPTURE(config.variant);
    std::vector<StepRecord> records[2];
    std::vector<std::vector<float>> seen[2];
    nn::StateDict states[2], moments[2];
    for (const bool graph : {false, true}) {
      Steps steps(config);
      steps.training.graph = graph;
      steps.training.last = 10;
      steps.training.lr = [](int64_t step) { return 0.01 * static_cast<double>(step % 3 + 1); };
      steps.training.needs_model = [](const StepRecord& record) { return record.step == 4 || record.step == 5; };
      std::vector<int64_t> waits;
      steps.training.on_step = [&](StepRecord& record) {
        records[graph].push_back(record);
        if (record.step == 4 || record.step == 5) steps.look(seen[graph]);
        waits.push_back(default_device().backend().waits());
      };
      train(steps.training);
      for (size_t i = 5; i < 10; ++i) CHECK(waits[i] - waits[i - 1] == 1);
      states[graph] = nn::state_dict(*steps.method);
      moments[graph] = steps.optimizer->state();
    }
    CHECK(seen[0] == seen[1]);
    REQUIRE(records[0].size() == records[1].size());
    for (size_t i = 0; i < records[0].size(); ++i) {
      CAPTURE(i);
      CHECK(records[0][i].loss == records[1][i].loss);
      CHECK(records[0][i].metrics == records[1][i].metrics);
      if (i > 0) CHECK(records[0][i].loss != records[0][i - 1].loss);
    }
    for (const auto* state : {&states, &moments})
      for (const auto& entry : (*state)[0]) {
        CAPTURE(entry.first);
        CHECK(max_abs_difference(entry.second, (*state)[1].at(entry.first)) == 0);
      }
    CHECK(moments[1].at("step").item() == 10);
  }
}

TEST_CASE("--cuda-graph: a run that goes on in another process is the one that was not interrupted") {
  if (!default_device().backend().can_capture()) return;
  Steps whole(config_of("moco")), first(config_of("moco")), second(config_of("moco"));
  first.training.graph = second.training.graph = true;
  whole.training.last = second.training.last = 11;
  first.training.last = second.training.done = 5;
  train(whole.training);
  train(first.training);
  nn::load_state(*second.method, nn::state_dict(*first.method));
  second.optimizer->load_state(first.optimizer->state());
  second.made = 5;
  train(second.training);
  nn::StateDict a = nn::state_dict(*whole.method), b = nn::state_dict(*second.method);
  a.merge(whole.optimizer->state());
  b.merge(second.optimizer->state());
  for (const auto& entry : a) {
    CAPTURE(entry.first);
    CHECK(max_abs_difference(entry.second, b.at(entry.first)) == 0);
  }
}

TEST_CASE("--cuda-graph: an index out of range in a repetition is told with the figures of its step") {
  if (!default_device().backend().can_capture()) return;
  Steps steps(config_of("simclr"));
  steps.training.graph = true;
  steps.training.last = 9;
  const Tensor table = Tensor::ones({4});
  steps.training.after_step = [&](const Progress& progress) {
    index_select(table, 0, step_input<int64_t>({1}, default_device(), progress.step, [](int64_t step) {
                   return std::vector<int64_t>{step == 6 ? 7 : 1};
                 }));
  };
  int64_t told = 0;
  steps.training.on_step = [&](StepRecord& record) { told = record.step; };
  CHECK(error_of([&] { train(steps.training); }) == "[gather] index 7 is out of range for a dimension of size 4");
  CHECK(told == 6);
  default_device().backend().synchronize();
}

TEST_CASE("--cuda-graph: what cannot be captured says why; the device goes on") {
  if (!default_device().backend().can_capture()) {
    CHECK(mentions(error_of([] {
                     Steps steps(config_of("simclr"));
                     steps.training.graph = true;
                     steps.training.last = 1;
                     train(steps.training);
                   }),
                   "--cuda-graph"));
    return;
  }
  const auto fault = [](const auto& spoil) {
    Steps steps(config_of("simclr"));
    steps.training.graph = true;
    steps.training.last = 6;
    return error_of([&] {
      spoil(steps);
      train(steps.training);
    });
  };
  std::vector<Tensor> kept;
  CHECK(fault([](Steps&) {}).empty());
  CHECK(mentions(fault([](Steps& s) {
                   s.training.after_step = [&s](const Progress&) { s.method->metrics().begin()->second.item(); };
                 }),
                 "cannot read from the device"));
  CHECK(mentions(fault([&](Steps& s) {
                   s.training.after_step = [&](const Progress& p) {
                     if (p.step == 3) kept.push_back(Tensor::zeros({12345}));
                   };
                 }),
                 "bytes that the steps before it did not need"));
  CHECK(mentions(fault([](Steps& s) {
                   s.training.next = [&s, next = s.training.next] {
                     Batch batch = next();
                     if (s.made == 5) batch.views[0] = batch.views[0].slice(0, 0, 2);
                     return batch;
                   };
                 }),
                 "views (2, 16, 16, 3) after those of (4, 16, 16, 3)"));
  CHECK(fault([](Steps&) {}).empty());
  for (const MethodEntry& entry : method_entries())
    CHECK(make_method(config_of(entry.name))->why_not_captured().empty());
  TrainConfig v3 = config_of("moco");
  v3.variant = "v3", v3.momentum = 0;
  CHECK(mentions(make_method(v3)->why_not_captured(), "--momentum 0"));
}

TEST_CASE("what another thread gives the device while a step is captured is refused, not made a part of the graph") {
  Backend& backend = default_device().backend();
  if (!backend.can_capture()) return;
  const Tensor x = Tensor::zeros({2}), y = Tensor::zeros({2});
  std::vector<std::string> faults;
  const std::unique_ptr<Graph> graph = backend.capture([&] {
    Tensor(x).fill_(1);
    std::thread([&] {
      faults.push_back(error_of([&] { Tensor(y).fill_(2); }));
      faults.push_back(error_of([&] { Tensor(y).upload_(std::span<const float>(std::vector<float>{3, 3})); }));
      faults.push_back(error_of([&] { y.to_vector<float>(); }));
    }).join();
  });
  for (const std::string& fault : faults) CHECK(mentions(fault, "another thread captures a step"));
  CHECK(x.to_vector<float>() == std::vector<float>{0, 0});
  graph->launch();
  CHECK(x.to_vector<float>() == std::vector<float>{1, 1});
  CHECK(y.to_vector<float>() == std::vector<float>{0, 0});
}

TEST_CASE("MoCo's queue goes on where a state that is loaded says, though the host keeps its position") {
  Steps first(config_of("moco")), second(config_of("moco"));
  first.training.last = 3;
  train(first.training);
  second.training.last = 1;
  train(second.training);  // it has a position of its own
  nn::load_state(*second.method, nn::state_dict(*first.method));
  second.optimizer->load_state(first.optimizer->state());
  second.made = first.made;
  for (Steps* const steps : {&first, &second}) {
    steps->training.done = 3;
    steps->training.last = 5;
    train(steps->training);
  }
  const nn::StateDict a = nn::state_dict(*first.method), b = nn::state_dict(*second.method);
  CHECK(a.at("queue_ptr").item() == 20);
  for (const auto& entry : a) {
    CAPTURE(entry.first);
    CHECK(max_abs_difference(entry.second, b.at(entry.first)) == 0);
  }
}

TEST_CASE(
    "an index out of range is an error when the host next waits, and until then nothing is read or written there") {
  const Device device = default_device();
  const auto list = [](std::vector<int64_t> values, const Shape& shape) { return Tensor::from(values, shape); };
  const Tensor x = Tensor::from(std::vector<float>{1, 2, 3, 4, 5, 6}, {2, 3});
  const auto message = [&](const auto& f) {
    return error_of([&] {
      f();
      device.backend().synchronize();
    });
  };
  CHECK(message([&] {
          gather(x, 1, list({0, 3}, {2, 1}));
        }) == "[gather] index 3 is out of range for a dimension of size 3");
  CHECK(message([&] { index_select(x, 0, list({-1}, {1})); }) ==
        "[gather] index -1 is out of range for a dimension of size 2");
  CHECK(message([&] {
          scatter_add({2, 3}, 1, list({7, 0}, {2, 1}), x.slice(1, 0, 1));
        }) == "[scatter_add] index 7 is out of range for a dimension of size 3");
  CHECK(message([&] {
          cross_entropy(Variable(x), list({1, 3}, {2}));
        }) == "[cross_entropy] label 3 is out of range for 3 classes");
  CHECK(message([] {}).empty());  // told once
  if (device.backend().host_accessible()) return;

  // Between two rows of one block: what a write out of range would meet.
  const Tensor block = Tensor::full({3, 4}, 9);
  const Tensor sums = block.slice(0, 1, 2);
  device.backend().scatter_add(sums.view(), list({-4, 4, 1, 7}, {1, 4}).view(), Tensor::ones({1, 4}).view(), 1);
  const Tensor read = Tensor::empty({1, 4});
  device.backend().gather(read.view(), sums.view(), list({-1, 4, 1, 40}, {1, 4}).view(), 1);
  const int64_t waits = device.backend().waits();
  LateNumbers late({sum(read)});
  CHECK(device.backend().waits() == waits);
  CHECK(mentions(error_of([&] { late.get(); }), "[scatter_add] index "));
  CHECK(block.to_vector<float>() == std::vector<float>{9, 9, 9, 9, 9, 10, 9, 9, 9, 9, 9, 9});
  CHECK(read.to_vector<float>() == std::vector<float>{0, 0, 10, 0});
  CHECK(late.get() == std::vector<double>{10});
}

TEST_CASE("uploads of every size come whole and in order, whatever the host writes over meanwhile") {
  const Device host("cpu");
  constexpr int64_t kLarge = int64_t{3} << 19;  // i64: 12 MiB
  std::vector<int64_t> sizes;
  for (int round = 0; round < 30; ++round)
    for (const int64_t size : {kLarge, int64_t{3}, kLarge + 5, int64_t{70000}}) sizes.push_back(size);
  for (int small = 0; small < 100; ++small) sizes.push_back(30000 + small);  // so many that no large one comes between
  Tensor staged = Tensor::empty({kLarge + 5}, i64, host);
  auto* const values = staged.view().ptr<int64_t>();
  std::vector<LateNumbers> late;
  std::vector<std::vector<double>> expected;
  for (size_t n = 0; n < sizes.size(); ++n) {
    const int64_t size = sizes[n], first = static_cast<int64_t>(n) * 1000;
    for (int64_t i = 0; i < size; ++i) values[i] = first + i % 997;
    const Tensor there = staged.slice(0, 0, size).to(default_device());
    const auto at = [&](int64_t i) { return there.slice(0, i, i + 1); };
    late.emplace_back(std::vector<Tensor>{at(0), at(size / 2), at(size - 1)});
    expected.push_back(
        {static_cast<double>(values[0]), static_cast<double>(values[size / 2]), static_cast<double>(values[size - 1])});
  }
  for (size_t i = 0; i < late.size(); ++i) CHECK(late[i].get() == expected[i]);
}

TEST_CASE("late numbers are those of the moment when they were asked for, in every dtype") {
  const Tensor x = Tensor::full({}, 1.5), n = Tensor::full({1}, 7, i64), b = Tensor::full({}, 2, bf16);
  const LateNumbers late({x, n, Tensor::full({}, 0.25, f64), b, Tensor::full({}, 200, u8)});
  x.backend().fill(x.view(), 3);
  n.backend().fill(n.view(), 3);
  CHECK(late.get() == std::vector<double>{1.5, 7, 0.25, 2, 200});
  CHECK(late.get() == std::vector<double>{1.5, 7, 0.25, 2, 200});
  CHECK(LateNumbers().get().empty());
  CHECK(mentions(error_of([] { LateNumbers({Tensor::zeros({2})}); }), "one element"));
}
