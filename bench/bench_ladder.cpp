// The kernel ladder: one convolution (3x3, stride 1, 64 to 64 channels at 32 x 32, 64 images) by every way that tacit
// knows, on every instruction set of this CPU. docs/kernels.md explains the rungs; this prints their table.
//   bench_ladder [TURNS]
// The rungs take turns, and what counts is a rung's median. All but the last run on one thread and are timed by the
// processor's clock, which work of others on the machine disturbs less than the wall's. TACIT_CPU is read once in a
// process, so the program starts itself again for each instruction set ("rungs" is then its first argument).
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <sstream>

#include "backends/cpu/backend.h"
#include "backends/cpu/kernels/dispatch.h"
#include "bench/cases.h"
#include "tacit.h"

using namespace tacit;

namespace {

constexpr int64_t kImages = 64, kSide = 32, kChannels = 64;
constexpr double kOperations = 2.0 * kImages * kSide * kSide * kChannels * kChannels * 9;

/// im2col, then a product: the nine pixels under each output pixel side by side in memory.
Tensor by_im2col(const Tensor& x, const Tensor& w) {
  const int64_t n = x.size(0), c = x.size(3), k = w.size(0);
  const Tensor padded = Tensor::zeros({n, kSide + 2, kSide + 2, c}), columns = Tensor::empty({n, kSide, kSide, 9 * c});
  padded.slice(1, 1, kSide + 1).slice(2, 1, kSide + 1).copy_(x);
  for (int64_t tap = 0; tap < 9; ++tap)
    columns.slice(3, tap * c, (tap + 1) * c)
        .copy_(padded.slice(1, tap / 3, tap / 3 + kSide).slice(2, tap % 3, tap % 3 + kSide));
  return matmul(columns.reshape({n * kSide * kSide, 9 * c}), w.reshape({k, 9 * c}).t()).reshape({n, kSide, kSide, k});
}

struct Rung {
  const char* name;
  std::function<Tensor(const Tensor& x, const Tensor& w)> f;
  int threads = 1;         ///< 0: all
  std::string on = "cpu";  ///< "reference": timed once in a process
};

std::vector<Rung> rungs() {
  const auto conv = [](ConvAlgorithm algorithm) {
    return
        [algorithm](const Tensor& x, const Tensor& w) { return conv2d(x, w, {.padding = 1, .algorithm = algorithm}); };
  };
  std::vector<Rung> all = {{"plain loops (reference)", conv(ConvAlgorithm::Auto), 1, "reference"},
                           {"im2col and a product", by_im2col},
                           {"implicit product (direct)", conv(ConvAlgorithm::Direct)},
                           {"Winograd F(2)", conv(ConvAlgorithm::F2)},
                           {"Winograd F(4)", conv(ConvAlgorithm::F4)},
                           {"F(4) on all threads", conv(ConvAlgorithm::F4), 0}};
  if (best_device() == "cuda") all.push_back({"cuda", conv(ConvAlgorithm::Auto), 0, "cuda"});
  return all;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// A line for each rung: seconds, and the largest error, as a part of the largest value of the definition's result.
void measure(int turns) {
  const Tensor x = Tensor::normal({kImages, kSide, kSide, kChannels}, 0, 1);
  const Tensor w = Tensor::normal({kChannels, 3, 3, kChannels}, 0, 2);
  const std::vector<Rung> all = rungs();
  const int cores = cpu::threads();
  const Device reference("reference");
  const Tensor few = x.slice(0, 0, 2), right = conv2d(few.to(reference), w.to(reference), {.padding = 1});
  std::vector<std::vector<double>> seconds(all.size());
  std::vector<double> error(all.size());
  for (int turn = 0; turn <= turns; ++turn)
    for (size_t i = 0; i < all.size(); ++i) {
      const Device device(all[i].on);
      if (all[i].on == "reference" && turn > 1) continue;  // seconds a run
      cpu::set_threads(all[i].threads == 0 ? cores : all[i].threads);
      const Tensor at = x.to(device), filters = w.to(device);
      const std::clock_t processor = std::clock();
      const double wall = bench::seconds_of([&] { all[i].f(at, filters), device.backend().synchronize(); });
      const double own = static_cast<double>(std::clock() - processor) / CLOCKS_PER_SEC;
      if (turn > 0)
        seconds[i].push_back(all[i].threads == 1 ? own : wall);  // the first takes memory from the system
      else
        error[i] = max_abs_difference(all[i].f(few.to(device), filters), right) / amax(abs(right)).item();
    }
  for (size_t i = 0; i < all.size(); ++i) std::printf("%.9g %.3g\n", median(seconds[i]), error[i]);
}

struct Column {
  std::string isa;
  std::vector<double> seconds, error;
};

/// measure() in a process of its own; an empty `isa` is the build's only one. Throws Error when it fails.
Column measured(const std::string& program, const std::string& isa, int turns) {
  std::ostringstream command;
  command << "TACIT_CPU='" << isa << "' '" << program << "' rungs " << turns;
  std::FILE* const pipe = popen(command.str().c_str(), "r");
  TACIT_CHECK(pipe != nullptr, "[bench] cannot start ", command.str());
  Column column{isa, {}, {}};
  double seconds = 0, error = 0;
  while (std::fscanf(pipe, "%lf %lf", &seconds, &error) == 2)
    column.seconds.push_back(seconds), column.error.push_back(error);
  TACIT_CHECK(pclose(pipe) == 0 && column.seconds.size() == rungs().size(), "[bench] ", command.str(), " failed");
  return column;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc == 3 && std::string(argv[1]) == "rungs") return measure(std::stoi(argv[2])), 0;
  const int turns = argc > 1 ? std::stoi(argv[1]) : 15;
  TACIT_CHECK(turns > 0, "[bench] TURNS must be above 0, got ", turns);
  char program[4096] = {};
  TACIT_CHECK(readlink("/proc/self/exe", program, sizeof program - 1) > 0, "[bench] cannot find this program's file");
  std::vector<Column> columns;
#ifdef TACIT_ISA_LEVELS
  for (int isa = 0; isa <= static_cast<int>(cpu::detected_isa()); ++isa)
    columns.push_back(measured(program, "v" + std::to_string(2 + isa), turns));
#else
  columns.push_back(measured(program, "", turns));
#endif

  std::printf(
      "3x3 convolution, %lld to %lld channels, %lld x %lld, %lld images: %.2f GFLOP as the definition counts them\n"
      "milliseconds (times as fast as plain loops); %d threads at most\n\n%-27s",
      static_cast<long long>(kChannels), static_cast<long long>(kChannels), static_cast<long long>(kSide),
      static_cast<long long>(kSide), static_cast<long long>(kImages), kOperations / 1e9, cpu::threads(), "");
  for (const Column& c : columns) std::printf("  %16s", c.isa.empty() ? "native" : ("x86-64-" + c.isa).c_str());
  std::printf("  %9s  %s\n", "GFLOP/s", "largest error");
  const Column& best = columns.back();
  const std::vector<Rung> all = rungs();
  for (size_t i = 0; i < all.size(); ++i) {
    std::printf("%-27s", all[i].name);
    for (const Column& c : columns) {
      char cell[64];
      std::snprintf(cell, sizeof cell, "%.2f (%.3g)", c.seconds[i] * 1e3, c.seconds[0] / c.seconds[i]);
      std::printf("  %16s", cell);
    }
    std::printf("  %9.3g  %.0e\n", kOperations / best.seconds[i] / 1e9, best.error[i]);
  }
  if (best_device() != "cuda") std::printf("%-27s  not measured: no GPU here\n", "cuda");
} catch (const std::exception& e) {
  std::fprintf(stderr, "error: %s\n", e.what());
  return 1;
}
