// Where a step's time goes: every kernel's share, its GFLOP/s (convolutions as if computed directly) or GB/s, and that
// beside what this machine can do.
//   bench_roofline [CASE] [STEPS] [THREADS]     CASE: see bench/cases.h (default simclr-resnet18)
// The peaks are measured first: multiply-adds of random numbers by the product kernel from the first-level cache, and
// a copy of 256 MB, both on all threads.
#include <algorithm>
#include <cstdio>
#include <iostream>

#include "backends/cpu/backend.h"
#include "backends/cpu/gemm_blocks.h"
#include "backends/cpu/parallel.h"
#include "bench/cases.h"
#include "bench/timed_backend.h"
#include "tacit.h"

using namespace tacit;

namespace {

/// Operations a second of the product kernel on blocks that stay in the first-level cache.
double peak_operations() {
  constexpr int64_t kRows = 24, kDepth = 64, kTimes = 20'000;
  const cpu::GemmTable<float>& gemm = cpu::gemm_table<float>();
  const int64_t columns = 2 * gemm.nr, tasks = 4 * cpu::threads();
  double best = 0;
  for (int turn = 0; turn < 5; ++turn) {
    const double seconds = bench::seconds_of([&] {
      cpu::parallel_pieces(tasks, [&](int64_t t) {
        const std::vector<float> a = Tensor::normal({kRows * kDepth}, 1, static_cast<uint64_t>(t)).to_vector<float>(),
                                 b = Tensor::normal({kDepth * columns}, 2, static_cast<uint64_t>(t)).to_vector<float>();
        std::vector<float> c(static_cast<size_t>(kRows * columns));
        const float* from[kRows];
        float* to[kRows];
        for (int64_t i = 0; i < kRows; ++i) from[i] = a.data() + i * kDepth, to[i] = c.data() + i * columns;
        const cpu::GemmPiece piece{0, kDepth};
        const cpu::GemmRun run{0, 0, kDepth};
        const auto panels = cpu::make_panels(b.data(), kDepth * gemm.nr, 0, columns, &run, 1);
        for (int64_t i = 0; i < kTimes; ++i)
          gemm.by_rows(
              {from, kRows, kDepth, &piece, 1, to, panels.data(), static_cast<int64_t>(panels.size()), false, nullptr});
      });
    });
    best = std::max(best, 2.0 * kRows * kDepth * static_cast<double>(columns * kTimes * tasks) / seconds);
  }
  return best;
}

/// Bytes a second, read and written, of a large copy.
double peak_bytes() {
  const Tensor from = Tensor::ones({1 << 26}), to = Tensor::zeros({1 << 26});
  double best = 1e9;
  for (int turn = 0; turn < 5; ++turn) best = std::min(best, bench::seconds_of([&] { Tensor(to).copy_(from); }));
  return 2.0 * 4 * (1 << 26) / best;
}

}  // namespace

int main(int argc, char** argv) try {
  const std::string name = argc > 1 ? argv[1] : "simclr-resnet18";
  const int steps = argc > 2 ? std::stoi(argv[2]) : 5;
  if (argc > 3) cpu::set_threads(std::stoi(argv[3]));
  const double operations = peak_operations(), bytes = peak_bytes();
  std::printf("%d threads: %.0f GFLOP/s of products from the first-level cache, %.0f GB/s of a copy\n", cpu::threads(),
              operations / 1e9, bytes / 1e9);

  add_backend("timed", [](int) { return std::make_unique<bench::TimedBackend>(std::make_unique<cpu::CpuBackend>()); });
  set_default_device(Device("timed"));
  const bench::Case work = bench::make_case(name);
  for (int i = 0; i < 2; ++i) work.step();
  bench::TimedBackend::times().clear();
  const double step = bench::seconds_of([&] {
                        for (int i = 0; i < steps; ++i) work.step();
                      }) /
                      steps;

  std::vector<std::pair<std::string, bench::KernelTime>> kernels(bench::TimedBackend::times().begin(),
                                                                 bench::TimedBackend::times().end());
  std::sort(kernels.begin(), kernels.end(),
            [](const auto& a, const auto& b) { return a.second.seconds > b.second.seconds; });
  std::printf("%s: %.1f ms a step\n%-50s %6s %9s %6s %16s %8s\n", name.c_str(), step * 1e3, "kernel", "calls", "ms",
              "share", "rate", "of peak");
  double known = 0;
  for (const auto& [kernel, t] : kernels) {
    known += t.seconds / steps;
    if (t.seconds / steps < step / 500) continue;
    const bool arithmetic = t.operations > 0;
    const double rate = (arithmetic ? t.operations : t.bytes) / t.seconds;
    std::printf("%-50s %6.0f %9.2f %5.1f%% %8.1f %s %7.0f%%\n", kernel.c_str(), static_cast<double>(t.calls) / steps,
                t.seconds / steps * 1e3, 100 * t.seconds / steps / step, rate / 1e9, arithmetic ? "GFLOP/s" : "GB/s   ",
                100 * rate / (arithmetic ? operations : bytes));
  }
  std::printf("%-50s %6s %9.2f %5.1f%%\n", "outside of kernels", "", (step - known) * 1e3, 100 * (step - known) / step);
} catch (const std::exception& e) {
  std::cerr << "error: " << e.what() << '\n';
  return 1;
}
