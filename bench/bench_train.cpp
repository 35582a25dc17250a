// Whole training steps: seconds a step, images a second, peak memory. bench/compare_pytorch.py runs the same steps in
// PyTorch beside this program and prints the ratios.
//   bench_train CASE [STEPS] [THREADS] [DEVICE] [fp32|tf32|bf16]     CASE: see bench/cases.h
// Prints one JSON object on a line.

#include <algorithm>
#include <ctime>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "backends/cpu/backend.h"
#include "bench/cases.h"
#include "tacit.h"

using namespace tacit;

namespace {

/// VmHWM. (getrusage's ru_maxrss begins with what the program that started this one had.)
int64_t peak_resident_mb() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.rfind("VmHWM:", 0) == 0) return std::stoll(line.substr(6)) / 1024;
  return 0;
}

}  // namespace

int main(int argc, char** argv) try {
  const std::string name = argc > 1 ? argv[1] : "simclr-small-cnn";
  const int steps = argc > 2 ? std::stoi(argv[2]) : 9;
  TACIT_CHECK(steps > 0, "[bench] the number of steps must be at least 1, got ", steps);
  if (argc > 3 && std::stoi(argv[3]) > 0) cpu::set_threads(std::stoi(argv[3]));
  if (argc > 4) set_default_device(Device(argv[4]));

  const std::string allowed = argc > 5 ? argv[5] : "fp32";
  const PrecisionScope scope(precision_named(allowed));

  const bench::Case work = bench::make_case(name);
  for (int i = 0; i < 2; ++i)
    bench::seconds_of(work.step);  // first touch of memory, caches, the allocator's free lists
  const int64_t at_once = bench::steps_at_once(work);
  const auto together = [&] {
    for (int64_t i = 0; i < at_once; ++i) work.step();
  };
  const int64_t before = default_device().allocator().statistics().system_allocations;
  std::vector<double> seconds;
  const std::clock_t processor = std::clock();
  const auto each = static_cast<double>(at_once);
  for (int i = 0; i < steps; ++i) seconds.push_back(bench::seconds_of(together) / each);
  const double processor_seconds = static_cast<double>(std::clock() - processor) / CLOCKS_PER_SEC / steps / each;
  std::sort(seconds.begin(), seconds.end());

  const double median = seconds[seconds.size() / 2];
  const MemoryStatistics memory = default_device().allocator().statistics();
  nlohmann::ordered_json figures{{"case", name},
                                 {"device", default_device().name()},
                                 {"precision", allowed},
                                 {"steps", steps},
                                 {"threads", cpu::threads()},
                                 {"seconds_median", median},
                                 {"seconds_min", seconds.front()},
                                 {"processor_seconds", processor_seconds},
                                 {"images_per_second", static_cast<double>(work.images) / median},
                                 {"peak_rss_mb", peak_resident_mb()},
                                 {"peak_tensor_mb", memory.peak_bytes >> 20},
                                 {"system_allocations_in_steady_state", memory.system_allocations - before}};
  if (work.operations > 0) {
    figures["steps_at_once"] = at_once;
    figures["tflops"] = work.operations / median * 1e-12;
  }
  std::cout << figures << '\n';
} catch (const std::exception& e) {
  std::cerr << "error: " << e.what() << '\n';
  return 1;
}
