// ssl/train: how much memory a run may take and will take.
#include <doctest/doctest.h>

#include "process.h"
#include "ssl/train/build.h"
#include "ssl/train/memory.h"
#include "ssl/train/method_entry.h"
#include "tensor/memory_limit.h"
#include "train.h"

namespace {

using namespace tacit;
using namespace tacit::ssl;
using testing::contains;
using testing::error_of;
using testing::tiny_config;
using testing::usage_error;

}  // namespace

TEST_CASE("memory: sizes as people write them, and a limit that is refused with advice") {
  CHECK(parse_bytes("1000") == 1000);
  CHECK(parse_bytes("2K") == 2048);
  CHECK(parse_bytes("1.5G") == 1610612736);
  CHECK(parse_bytes("6gb") == (int64_t{6} << 30));
  for (const char* bad : {"", "G", "6X", "-1G", "six", "1e99G"}) {
    CAPTURE(bad);
    CHECK(contains(usage_error([&] { parse_bytes(bad); }), "--memory-limit"));
  }
  CHECK(memory_limit("").bytes > 0);
  TrainConfig c = tiny_config();
  const int64_t small = estimate_training_memory(c);
  c.batch_size = 16384;
  const int64_t large = estimate_training_memory(c);
  CHECK(large > 100 * small);
  CHECK(estimate_training_memory(c, 10'000'000) > large);  // an evaluation may need more than a step
  CHECK(estimate_training_memory(c, 1000) == large);       // or have what a step has done with,
  TrainConfig captured = c;
  captured.cuda_graph = true;
  const int64_t step = estimate_training_memory(captured);  // unless that is captured
  CHECK(estimate_training_memory(captured, 1000) - step > 3 * 4 * 1000);
  c.memory_limit = std::to_string(large * 3 / 4);
  const std::string message = error_of([&] { check_training_memory(c); });
  CHECK(contains(message, "--memory-limit"));
  CHECK(contains(message, "--batch-size"));
  c.chunk_size = 64;
  CHECK(estimate_training_memory(c) < large * 2 / 3);
  CHECK_NOTHROW(check_training_memory(c));
  c.chunk_size = 4096;
  CHECK(contains(error_of([&] { check_training_memory(c); }), "--chunk-size"));
}

TEST_CASE("memory: the estimate is near what whole steps take, for every method and for large batches") {
  CachingAllocator& allocator = default_device().allocator();
  const auto check_estimate = [&](TrainConfig c) {
    validate(c);
    const int64_t estimate = estimate_training_memory(c);
    allocator.trim();
    const int64_t before = allocator.statistics().reserved_bytes;
    {
      const std::unique_ptr<Method> method = make_method(c);
      const std::unique_ptr<optim::Optimizer> optimizer = make_optimizer(c, *method);
      std::vector<std::vector<Tensor>> batches(3);  // the one in use and two that the loader has prepared
      for (std::vector<Tensor>& views : batches)
        for (size_t v = 0; v < views_of(c).size(); ++v)
          views.push_back(Tensor::uniform({c.batch_size, c.image_size, c.image_size, c.channels}, 1, v));
      for (int64_t step = 0; step < 2; ++step) {
        const Variable loss = method->loss(batches[0], {step, 2});
        optimizer->zero_grad();
        loss.backward();
        optimizer->step();
        method->after_step({step, 2});
      }
    }
    const double ratio =
        static_cast<double>(estimate) / static_cast<double>(allocator.statistics().reserved_bytes - before);
    CAPTURE(c.method);
    CAPTURE(c.batch_size);
    CHECK(ratio > 0.95);
    CHECK(ratio < 1.6);
  };
  for (const MethodEntry& method : method_entries()) {
    TrainConfig c;
    c.method = method.name;
    apply_recipe(c, "small-images");
    c.data = {"synthetic"};
    if (c.image_size == 0) c.image_size = 32;
    c.channels = 3;
    c.batch_size = 32;
    check_estimate(c);
  }
  TrainConfig queue;  // of which similarities are most
  queue.method = "moco";
  apply_recipe(queue, "small-images");
  queue.data = {"synthetic"};
  queue.image_size = 32, queue.channels = 3;
  queue.queue_size = 32768;
  check_estimate(queue);
  TrainConfig residual = tiny_config();  // tensors of many sizes, freed at different times
  residual.encoder = "resnet18";
  residual.encoder_width = 16;
  residual.image_size = 32;
  residual.batch_size = 64;
  residual.chunk_size = 32;
  check_estimate(residual);
  TrainConfig wide = tiny_config();  // the similarities of all views are most of it
  wide.image_size = 8;
  wide.batch_size = 1024;
  check_estimate(wide);
  wide.chunk_size = 256;
  check_estimate(wide);
  wide.chunk_size = 0;
  wide.image_size = 64;  // few images are measured
  wide.batch_size = 24;
  check_estimate(wide);
}

TEST_CASE("memory: the check itself stays below the limit, and leaves nothing reserved") {
  TrainConfig c = tiny_config();
  c.encoder = "resnet50";
  c.encoder_width = 256;  // 380 million parameters
  c.memory_limit = "100M";
  CachingAllocator& allocator = default_device().allocator();
  allocator.trim();
  allocator.reset_peak();
  const int64_t before = reserved_memory();
  const std::string message = error_of([&] { check_training_memory(c); });
  CHECK(contains(message, "more than 100 MiB"));
  CHECK(contains(message, "--encoder-width"));
  CHECK(allocator.statistics().peak_bytes - before <= int64_t{100} << 20);
  CHECK(reserved_memory() <= before);

  c = tiny_config();
  const std::unique_ptr<Method> method = make_method(c);
  const PlainViews views{{}, 512, 3, 0};
  CHECK_NOTHROW(check_features_memory(method->encoder(), views, 1000, "1G"));
  CHECK(contains(error_of([&] { check_features_memory(method->encoder(), views, 1000, "10M"); }), "--memory-limit"));
}
