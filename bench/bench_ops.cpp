// Times every row of the op table that has benchmark shapes, on every backend that works here: forward, and forward
// with gradients. GFLOP/s where the row knows its operations, else GB/s of inputs and outputs read or written once.
//   bench_ops --benchmark_filter=conv2d
#include <benchmark/benchmark.h>

#include <iostream>

#include "backends/cpu/backend.h"
#include "tests/op_table.h"

using namespace tacit;
using namespace tacit::testing;

namespace {

double bytes_of(const std::vector<Tensor>& tensors) {
  double bytes = 0;
  for (const Tensor& t : tensors)
    if (t.defined()) bytes += static_cast<double>(t.numel()) * static_cast<double>(size_of(t.dtype()));
  return bytes;
}

// The gradients cost about twice the forward pass in operations; in bytes they are counted themselves.
void count(benchmark::State& state, const OpRow& row, double bytes, double passes) {
  const auto rate = [&](double amount) {
    return benchmark::Counter(amount, benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::kIs1000);
  };
  if (row.flops)
    state.counters["FLOP/s"] = rate(row.flops(row.bench) * passes);
  else
    state.counters["B/s"] = rate(bytes);
}

void forward(benchmark::State& state, const OpRow& row, const Device& device) {
  const std::vector<Tensor> inputs = make_inputs(row, row.bench, f32, device);
  const std::vector<Variable> constants(inputs.begin(), inputs.end());
  Tensor y = row.f(constants).value();  // the first run takes its memory from the system, page by page
  y = row.f(constants).value();
  for ([[maybe_unused]] auto iteration : state) {
    y = row.f(constants).value();
    device.backend().synchronize();
  }
  std::vector<Tensor> moved = inputs;
  moved.push_back(y);
  count(state, row, bytes_of(moved), 1);
}

void with_gradients(benchmark::State& state, const OpRow& row, const Device& device) {
  const std::vector<Tensor> inputs = make_inputs(row, row.bench, f32, device);
  OpResult result = run(row, inputs);
  const Tensor dy = cotangent(result.value);
  result = run(row, inputs, dy);
  for ([[maybe_unused]] auto iteration : state) {
    result = run(row, inputs, dy);
    device.backend().synchronize();
  }
  std::vector<Tensor> moved = inputs;
  moved.insert(moved.end(), {result.value, result.value});  // y, dy
  moved.insert(moved.end(), result.gradients.begin(), result.gradients.end());
  count(state, row, bytes_of(moved), 3);
}

}  // namespace

int main(int argc, char** argv) try {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::AddCustomContext("tacit threads", std::to_string(cpu::threads()));
  for (const BackendEntry& entry : builtin_backends()) {
    const Device device(entry.name);
    for (const OpRow& row : op_table()) {
      if (row.bench.empty()) continue;
      const std::string name = entry.name + "/" + row.label();
      benchmark::RegisterBenchmark(name.c_str(), forward, row, device)->UseRealTime()->MinTime(0.05);
      benchmark::RegisterBenchmark((name + "/gradients").c_str(), with_gradients, row, device)
          ->UseRealTime()
          ->MinTime(0.05);
    }
  }
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
} catch (const Error& e) {
  std::cerr << "error: " << e.what() << '\n';
  return 1;
}
