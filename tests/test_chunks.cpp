// SimCLR in chunks: the gradient of the whole batch's loss, by two passes, in the memory of one chunk.
#include <doctest/doctest.h>

#include "autograd/ops.h"
#include "nn/norm.h"
#include "optim/sgd.h"
#include "ssl/methods/simclr.h"
#include "tests/values.h"

using namespace tacit;
using namespace tacit::ssl;
using namespace tacit::testing;

namespace {

constexpr int64_t kBatch = 12, kChunk = 4;

SimCLR make(int64_t chunk, DType dtype, const std::string& encoder = "small_cnn") {
  SimCLR model(nn::make_encoder({.name = encoder, .width = 4, .seed = 1}),
               {.temperature = 0.2, .projector = {16, 8}, .chunk_size = chunk});
  model.to(dtype);
  return model;
}

std::vector<Tensor> views_of(uint64_t step, DType dtype, int64_t images = kBatch, int64_t size = 16) {
  const Shape shape{images, size, size, 3};
  return {Tensor::normal(shape, step, 2, dtype), Tensor::normal(shape, step, 3, dtype)};
}

/// The same step with one graph over all chunks: batch norm per chunk, the loss over all.
Variable plain(SimCLR& model, const std::vector<Tensor>& views) {
  std::vector<Variable> first, second;
  for (int64_t lo = 0; lo < kBatch; lo += kChunk) {
    const Tensor both =
        concatenate(std::vector<Tensor>{views[0].slice(0, lo, lo + kChunk), views[1].slice(0, lo, lo + kChunk)}, 0);
    const Variable z = l2_normalize(model.project(model.encoder()(both)));
    first.push_back(slice(z, 0, 0, kChunk));
    second.push_back(slice(z, 0, kChunk, 2 * kChunk));
  }
  first.insert(first.end(), second.begin(), second.end());
  return nt_xent(concatenate(first, 0), 0.2);
}

}  // namespace

// Three steps in f64; one in f32, whose rounding (6e-8 after the first step) so small a network with batch norm has
// made 7e-4 after the third.
TEST_CASE("chunks: steps equal those of one graph with batch norm per chunk") {
  for (const std::string encoder : {"small_cnn", "resnet18"})
    for (const DType dtype : {f64, f32}) {
      CAPTURE(encoder);
      CAPTURE(dtype);
      SimCLR chunked = make(kChunk, dtype, encoder), whole = make(0, dtype, encoder);
      optim::SGD a(chunked, {.lr = 0.1, .momentum = 0.9}), b(whole, {.lr = 0.1, .momentum = 0.9});
      const uint64_t steps = dtype == f64 ? 3 : 1;
      for (uint64_t step = 0; step < steps; ++step) {
        const std::vector<Tensor> views = views_of(step, dtype);
        const Variable one = chunked.loss(views, {}), other = plain(whole, views);
        CHECK(one.item() == doctest::Approx(other.item()).epsilon(dtype == f64 ? 1e-10 : 1e-4));
        a.zero_grad();
        b.zero_grad();
        one.backward();
        other.backward();
        a.step();
        b.step();
      }
      const nn::StateDict ours = nn::state_dict(chunked), theirs = nn::state_dict(whole);
      for (const auto& named : theirs) {
        CAPTURE(named.first);
        CHECK(max_abs_difference(ours.at(named.first), named.second) < (dtype == f64 ? 1e-10 : 1e-4));
      }
      const double counted = ours.at("encoder.bn1.num_batches_tracked").item();
      CHECK(counted == 3 * static_cast<double>(steps));  // each chunk once a step
    }
}

TEST_CASE("chunks: one chunk is the plain step; the gradient carries what multiplies the loss") {
  SimCLR one = make(kBatch, f64), plain_step = make(0, f64);
  const std::vector<Tensor> views = views_of(0, f64);
  const Variable a = one.loss(views, {}), b = plain_step.loss(views, {});
  CHECK(a.item() == b.item());
  (a * 3.0).backward();
  b.backward();
  const auto ours = one.named_parameters(), theirs = plain_step.named_parameters();
  for (size_t i = 0; i < ours.size(); ++i)
    CHECK(max_abs_difference(ours[i].second->variable().grad(), theirs[i].second->variable().grad() * 3.0) < 1e-12);
  CHECK(one.metrics().at("feature_std").item() == doctest::Approx(plain_step.metrics().at("feature_std").item()));
  CHECK(one.metrics().at("pretext_top1").item() == plain_step.metrics().at("pretext_top1").item());
  const NoGrad no_graph;
  CHECK_FALSE(one.loss(views, {}).requires_grad());
  SimCLR five = make(5, f64);
  CHECK(mentions(error_of([&] { five.loss(views, {}); }), "chunks of 5 images do not divide a batch of 12"));
  CHECK(mentions(error_of([] { make(-1, f64); }), "chunk size"));
}

TEST_CASE("chunks: peak memory is a chunk's") {
  CachingAllocator& allocator = default_device().allocator();
  const auto peak = [&](int64_t chunk) {
    SimCLR model = make(chunk, f32);
    const std::vector<Tensor> views = views_of(0, f32, 64, 32);
    const int64_t before = allocator.statistics().live_bytes;
    allocator.reset_peak();
    model.loss(views, {}).backward();
    return allocator.statistics().peak_bytes - before;
  };
  CHECK(peak(4) < peak(0) / 4);
}

TEST_CASE("KeepRunningStatistics: batches are normalised by themselves and leave no trace") {
  nn::BatchNorm norm(3), counted(3);
  const Tensor x = Tensor::normal({5, 3}, 1, 2);
  const nn::StateDict before = nn::state_dict(norm);
  {
    const nn::KeepRunningStatistics scope;
    CHECK(nn::KeepRunningStatistics::active());
    CHECK(max_abs_difference(norm(x).value(), counted(x).value()) == 0);
    CHECK(max_abs_difference(norm.relu(x).value(), counted.relu(x).value()) == 0);
  }
  CHECK_FALSE(nn::KeepRunningStatistics::active());
  for (const auto& [name, t] : before) CHECK(max_abs_difference(nn::state_dict(norm).at(name), t) == 0);
  norm(x);
  CHECK(nn::state_dict(norm).at("num_batches_tracked").item() == 1);
  norm.eval();
  const nn::KeepRunningStatistics scope;
  CHECK(max_abs_difference(norm(x).value(), x) < 3);  // evaluation still reads them
}

TEST_CASE("NT-Xent: many rows are taken in blocks, and the loss and gradient are those of the whole") {
  const int64_t rows = 2060;  // blocks of 2036 and 24 rows
  const Variable z = Variable::leaf(l2_normalize(Tensor::normal({rows, 3}, 1, 1, f64))),
                 same = Variable::leaf(z.value());
  Tensor top1;
  const Variable loss = nt_xent(z, 0.3, &top1);
  std::vector<int64_t> partner(static_cast<size_t>(rows));
  for (int64_t i = 0; i < rows; ++i) partner[static_cast<size_t>(i)] = (i + rows / 2) % rows;
  const Tensor never = Tensor::scalar(-1e300, f64);
  const Variable expected = cross_entropy(where(eye_mask(rows), never, matmul(same, transpose(same, 0, 1)) / 0.3),
                                          Tensor::from(partner, {rows}));
  CHECK(loss.item() == doctest::Approx(expected.item()).epsilon(1e-12));
  loss.backward();
  expected.backward();
  CHECK(max_abs_difference(z.grad(), same.grad()) < 1e-15);
}
