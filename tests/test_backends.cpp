// The default device (see main.cpp) against the reference: each row of the op table (values and gradients, every
// layout), and the fused ops against their composites. Kernels that no differentiable op reaches are in
// test_kernels.cpp.
#include <doctest/doctest.h>

#include "backends/cpu/backend.h"
#include "op_table.h"
#include "toy_backend.h"

using namespace tacit;
using namespace tacit::testing;

namespace {

Device toy() {
  static const Device device = [] {
    add_toy_backend();
    return Device("toy");
  }();
  return device;
}

OpResult run_on(const Device& device, const OpRow& row, const std::vector<Shape>& shapes, DType dtype, Layout layout,
                int only = -1) {
  const DeviceScope scope(device);
  return run(row, make_inputs(row, shapes, dtype, device, layout, only));
}

void compare_row(const Device& device, const OpRow& row, const std::vector<Shape>& shapes, Layout layout, int only) {
  CAPTURE(row.label());
  CAPTURE(only);
  const Device reference("reference");
  const OpResult got = run_on(device, row, shapes, f32, layout, only);
  CHECK(compare(row, got, run_on(reference, row, shapes, f32, layout, only)) == "");
  if (layout == Layout::Contiguous) CHECK(compare(row, got, run_on(reference, row, shapes, f64, layout)) == "");
}

void compare_backends(const Device& device, Layout layout, bool large) {
  for (const OpRow& row : op_table()) {
    const std::vector<Shape> shapes = large ? row.large : row.shapes();
    if (shapes.empty()) continue;
    if (layout != Layout::Broadcast) {
      compare_row(device, row, shapes, layout, -1);
    } else if (row.broadcast) {
      // One input at a time: were all of them to repeat, every output would be one and the same sum, and where its
      // terms cancel, its value says nothing of the rounding error to expect.
      for (size_t i = 0; i < shapes.size(); ++i) compare_row(device, row, shapes, layout, static_cast<int>(i));
    }
  }
}

}  // namespace

TEST_CASE("the device = reference over the op table") {
  const Device device = default_device();
  compare_backends(device, Layout::Contiguous, false);
  compare_backends(device, Layout::Strided, false);
  compare_backends(device, Layout::Broadcast, false);
  CHECK(device.backend().fallbacks() == 0);
}

TEST_CASE("the device = reference at sizes of several vectors and threads: contiguous") {
  compare_backends(default_device(), Layout::Contiguous, true);
  CHECK(default_device().backend().fallbacks() == 0);
}

TEST_CASE("the device = reference at sizes of several vectors and threads: strided and broadcast") {
  compare_backends(default_device(), Layout::Strided, true);
  compare_backends(default_device(), Layout::Broadcast, true);
  CHECK(default_device().backend().fallbacks() == 0);
}

TEST_CASE("the reference gives the same numbers for every layout") {
  const Device reference("reference");
  for (const OpRow& row : op_table()) {
    CAPTURE(row.label());
    const OpResult dense = run_on(reference, row, row.shapes(), f32, Layout::Contiguous);
    const OpResult strided = run_on(reference, row, row.shapes(), f32, Layout::Strided);
    CHECK(max_abs_difference(dense.value, strided.value) == 0);
    for (size_t i = 0; i < dense.gradients.size(); ++i)
      if (dense.gradients[i].defined()) CHECK(max_abs_difference(dense.gradients[i], strided.gradients[i]) == 0);
  }
}

TEST_CASE("f64 on the device is f64: it equals the reference to 1e-12") {
  const Device device = default_device(), reference("reference");
  for (const OpRow& row : op_table()) {
    CAPTURE(row.label());
    const OpResult got = run_on(device, row, row.shapes(), f64, Layout::Contiguous);
    const OpResult expected = run_on(reference, row, row.shapes(), f64, Layout::Contiguous);
    CHECK(max_abs_difference(got.value, expected.value) < 1e-12);
    for (size_t i = 0; i < got.gradients.size(); ++i)
      if (got.gradients[i].defined()) CHECK(max_abs_difference(got.gradients[i], expected.gradients[i]) < 1e-12);
  }
}

TEST_CASE("the same bits at one thread and at four") {
  const Device cpu("cpu");
  const int threads = cpu::threads();
  const auto run_with = [&](int n, const OpRow& row) {
    cpu::set_threads(n);
    const OpResult result = run_on(cpu, row, row.large, f32, Layout::Contiguous);
    cpu::set_threads(threads);
    return result;
  };
  for (const OpRow& row : op_table()) {
    if (row.large.empty()) continue;
    CAPTURE(row.label());
    const OpResult one = run_with(1, row), four = run_with(4, row);
    CHECK(max_abs_difference(one.value, four.value) == 0);
    for (size_t i = 0; i < one.gradients.size(); ++i)
      if (one.gradients[i].defined()) CHECK(max_abs_difference(one.gradients[i], four.gradients[i]) == 0);
  }
}

TEST_CASE("the same bits again") {
  for (const OpRow& row : op_table()) {
    if (row.large.empty()) continue;
    CAPTURE(row.label());
    const OpResult one = run_on(default_device(), row, row.large, f32, Layout::Contiguous);
    const OpResult two = run_on(default_device(), row, row.large, f32, Layout::Contiguous);
    CHECK(max_abs_difference(one.value, two.value) == 0);
    for (size_t i = 0; i < one.gradients.size(); ++i)
      if (one.gradients[i].defined()) CHECK(max_abs_difference(one.gradients[i], two.gradients[i]) == 0);
  }
}

TEST_CASE("a backend of five functions passes the op table through the reference") {
  const int64_t fallbacks = toy().backend().fallbacks(), composed = composites();
  compare_backends(toy(), Layout::Contiguous, false);
  compare_backends(toy(), Layout::Strided, false);
  CHECK(toy().backend().fallbacks() > fallbacks);
  CHECK(composites() > composed);  // it has no fused kernels either
}

TEST_CASE("fused batch norm = its composite") {
  for (const Device& device : {default_device(), Device("reference")}) {
    const DeviceScope scope(device);
    const int64_t composed = composites();
    for (const OpRow& row : op_table()) {
      if (row.name != "batch_norm_relu") continue;
      CAPTURE(device.name());
      CAPTURE(row.label());
      OpRow composite = row;
      composite.f = [&](const std::vector<Variable>& v) {
        const bool evaluation = v.size() == 6;
        const RunningStats running = evaluation ? RunningStats{v[4].value(), v[5].value()} : RunningStats{};
        const BatchSplit split = row.variant.ends_with("groups") ? BatchSplit{2, true} : BatchSplit{};
        const Variable y = batch_norm(v[0], v[1], v[2], running, !evaluation, 1e-5, split);
        return relu(v.size() > 3 ? y + v[3] : y);
      };
      for (const auto& shapes : {row.shapes(), row.large})
        CHECK(compare(row, run_on(device, row, shapes, f32, Layout::Contiguous),
                      run_on(device, composite, shapes, f32, Layout::Contiguous)) == "");
    }
    CHECK(composites() == composed);
  }
}

TEST_CASE("fused contrastive losses = their composites") {
  for (const Device& device : {default_device(), Device("reference")}) {
    const DeviceScope scope(device);
    CAPTURE(device.name());
    const int64_t composed = composites();
    for (const OpRow& row : op_table()) {
      if (row.name != "nt_xent") continue;
      OpRow composite = row;
      composite.f = [](const std::vector<Variable>& v) {
        const int64_t rows = v[0].size(0);
        std::vector<int64_t> partner(static_cast<size_t>(rows));
        for (int64_t i = 0; i < rows; ++i) partner[static_cast<size_t>(i)] = (i + rows / 2) % rows;
        const Variable s = matmul(v[0], transpose(v[0], 0, 1)) / 0.7;
        return cross_entropy(where(eye_mask(rows), Tensor::scalar(-1e30, s.dtype()), s), Tensor::from(partner, {rows}));
      };
      for (const auto& shapes : {row.shapes(), row.large})
        CHECK(compare(row, run_on(device, row, shapes, f32, Layout::Contiguous),
                      run_on(device, composite, shapes, f32, Layout::Contiguous)) == "");
    }
    CHECK((composites() == composed) == device.backend().supports(Fused::Contrast));
  }
}

TEST_CASE("fused and composite batch norm write the same running statistics") {
  const auto statistics = [](const Device& device) {
    const Tensor x = Tensor::normal({6, 5, 4, 3}, 3, 4, f32, device);
    const RunningStats running{Tensor::zeros({3}, f32, device), Tensor::ones({3}, f32, device)};
    batch_norm_relu(x, {}, {}, {}, running, true);
    return concatenate(std::vector<Tensor>{running.mean, running.var}, 0).to(Device("reference"));
  };
  CHECK(max_abs_difference(statistics(default_device()), statistics(Device("reference"))) < 1e-6);
  CHECK(max_abs_difference(statistics(toy()), statistics(Device("reference"))) == 0);
}
