// The register tiles of the CPU backend, of every instruction set that this CPU has, and what the backend promises
// besides right results: the same bits at any number of threads, aligned memory, clear errors.
#include <doctest/doctest.h>
#include <tbb/global_control.h>
#include <tbb/task_arena.h>

#include <cstring>
#include <string>

#include "backends/cpu/kernels/depthwise.h"
#include "backends/cpu/kernels/gemm.h"
#include "backends/cpu/memory.h"
#include "cpu_conv.h"

using namespace tacit;
using namespace tacit::testing;

namespace {

struct NamedTables {
  cpu::Isa isa;
  const cpu::GemmTables* gemm;
  const cpu::DepthwiseTable* depthwise;
};
std::vector<NamedTables> tables_of_this_cpu() {
#if defined(TACIT_ISA_LEVELS)
  std::vector<NamedTables> all = {{cpu::Isa::v2, &cpu::isa_v2::gemm_tables(), &cpu::isa_v2::depthwise_table()}};
  if (cpu::detected_isa() >= cpu::Isa::v3)
    all.push_back({cpu::Isa::v3, &cpu::isa_v3::gemm_tables(), &cpu::isa_v3::depthwise_table()});
  if (cpu::detected_isa() >= cpu::Isa::v4)
    all.push_back({cpu::Isa::v4, &cpu::isa_v4::gemm_tables(), &cpu::isa_v4::depthwise_table()});
  return all;
#else
  return {{cpu::Isa::v2, &cpu::gemm_tables(), &cpu::depthwise_table()}};
#endif
}

// One block: the summed index is `depth` steps in three runs, A's rows are two pieces with a gap between them, B is
// packed from rows or from columns.
template <class T>
double block_error(const cpu::GemmTable<T>& gemm, bool by_rows, bool transposed_b, int64_t rows, int64_t columns,
                   int64_t depth, bool accumulate) {
  const int64_t gap = 3, split = depth / 3;
  const auto a = numbers<T>(rows * (depth + gap), 1), at = numbers<T>(depth * rows, 2);
  const auto b = numbers<T>(depth * columns, 3), c0 = numbers<T>(rows * columns, 4);
  const auto a_at = [&](int64_t i, int64_t k) {
    return static_cast<double>(by_rows ? a[i * (depth + gap) + k + (k >= split ? gap : 0)] : at[k * rows + i]);
  };
  const auto b_at = [&](int64_t k, int64_t j) {
    return static_cast<double>(transposed_b ? b[j * depth + k] : b[k * columns + j]);
  };

  // Nothing may depend on what lies in the unused columns of a partial panel.
  const int64_t panels = (columns + gemm.nr - 1) / gemm.nr;
  std::vector<T> packed(panels * depth * gemm.nr, T(1e30)), c = c0, scratch(cpu::kGemmScratch);
  std::vector<const T*> from, b_rows;
  std::vector<T*> to;
  for (int64_t i = 0; i < rows; ++i) to.push_back(c.data() + i * columns);
  for (int64_t i = 0; i < (by_rows ? rows : depth); ++i)
    from.push_back(by_rows ? a.data() + i * (depth + gap) : at.data() + i * rows);

  const std::vector<cpu::GemmPiece> pieces = {{0, split}, {split + gap, depth - split}};
  // The order of the runs is free: the last third first.
  const int64_t third = 2 * depth / 3;
  const std::vector<cpu::GemmRun> runs = {{third, third, depth - third}, {0, 0, split}, {split, split, third - split}};
  std::vector<cpu::GemmPanel<T>> list;
  for (int64_t p = 0; p < panels; ++p) {
    const int64_t j = p * gemm.nr, width = std::min(gemm.nr, columns - j);
    T* const panel = packed.data() + p * depth * gemm.nr;
    b_rows.clear();
    for (int64_t k = 0; k < depth; ++k) b_rows.push_back(b.data() + k * columns + j);
    if (transposed_b)
      gemm.pack_transposed(panel, b.data() + j * depth, depth, depth, width);
    else
      gemm.pack(panel, b_rows.data(), depth, width);
    list.push_back({panel, j, width, runs.data(), static_cast<int64_t>(runs.size())});
  }
  const cpu::GemmBlock<T> block{from.data(), rows,        depth,  pieces.data(), 2,
                                to.data(),   list.data(), panels, accumulate,    scratch.data()};
  (by_rows ? gemm.by_rows : gemm.by_columns)(block);

  std::vector<double> want(rows * columns);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      double sum = accumulate ? static_cast<double>(c0[i * columns + j]) : 0;
      for (int64_t k = 0; k < depth; ++k) sum += a_at(i, k) * b_at(k, j);
      want[i * columns + j] = sum;
    }
  }
  return error(c, want, static_cast<double>(depth));
}

template <class T>
void check_blocks(const cpu::GemmTable<T>& gemm) {
  CHECK(96 % gemm.mr == 0);
  for (const int64_t rows : {1, 2, 4, 5, 7, 11, 12, 13, 31, 100})
    for (const int64_t columns : {1, 3, 16, 17, 32, 45, 64})
      for (const int64_t depth : {1, 9, 64, 288})
        for (int variant = 0; variant < 8; ++variant) {
          CAPTURE(rows);
          CAPTURE(columns);
          CAPTURE(depth);
          CAPTURE(variant);
          CHECK(block_error(gemm, variant & 1, variant & 2, rows, columns, depth, variant & 4) < kTolerance);
        }
}

}  // namespace

TEST_CASE("register tiles of every instruction set that this CPU has") {
  for (const NamedTables& tables : tables_of_this_cpu()) {
    CAPTURE(cpu::isa_name(tables.isa));
    check_blocks(tables.gemm->f32);
    check_blocks(tables.gemm->f64);
  }
}

TEST_CASE("depthwise sums of every instruction set that this CPU has") {
  for (const NamedTables& tables : tables_of_this_cpu()) {
    for (const int64_t channels : {1, 63, 64, 130}) {
      const int64_t count = 9;
      const auto a = numbers<float>(count * channels, 1), b = numbers<float>(count * channels, 2);
      auto c = numbers<float>(channels, 3);
      std::vector<double> want(c.begin(), c.end());
      std::vector<const float*> pa, pb;
      for (int64_t t = 0; t < count; ++t) {
        pa.push_back(a.data() + t * channels), pb.push_back(b.data() + t * channels);
        for (int64_t i = 0; i < channels; ++i) want[i] += static_cast<double>(pa[t][i]) * static_cast<double>(pb[t][i]);
      }
      tables.depthwise->f32(c.data(), pa.data(), pb.data(), count, channels, true);
      CAPTURE(cpu::isa_name(tables.isa));
      CAPTURE(channels);
      CHECK(error(c, want, count) < kTolerance);
    }
  }
}

TEST_CASE("the same bits with 1, 2 and 4 threads") {
  const auto run = [](int count) {
    const tbb::global_control limit(tbb::global_control::max_allowed_parallelism, count);
    std::vector<float> all;
    const auto keep = [&](const std::vector<float>& v) { all.insert(all.end(), v.begin(), v.end()); };
    tbb::task_arena(count).execute([&] {
      for (const Conv& conv : {Conv{40, 14, 14, 8, 16, 3, 3, 2, 2, 1, 1}, Conv{3, 28, 28, 32, 32, 3, 3, 1, 1, 1, 1},
                               Conv{50, 7, 7, 40, 40, 3, 3, 1, 1, 1, 1, 1, 1, 40}}) {
        const auto r = run_conv<float>(conv);
        keep(r.y), keep(r.dx), keep(r.dw);
      }
      for (const int64_t k : {64, 9000}) {
        auto a = numbers<float>(60 * k, 1), b = numbers<float>(k * 70, 2);
        std::vector<float> c(60 * 70);
        backend().matmul(view(c, {60, 70}), view(a, {60, k}, {1, 60}), view(b, {k, 70}));
        keep(c);
        std::vector<double> ad(a.begin(), a.end()), bd(b.begin(), b.end()), cd(c.size());
        backend().matmul(view(cd, {60, 70}), view(ad, {60, k}, {1, 60}), view(bd, {k, 70}));
        for (const double d : cd) {
          float halves[2];
          std::memcpy(halves, &d, sizeof d);
          all.insert(all.end(), halves, halves + 2);
        }
      }
    });
    return all;
  };
  const auto one = run(1);
  for (const int count : {2, 4}) {
    for (int repeat = 0; repeat < 3; ++repeat) {
      const auto other = run(count);
      REQUIRE(other.size() == one.size());
      CHECK(std::memcmp(other.data(), one.data(), one.size() * sizeof(float)) == 0);
    }
  }
}

TEST_CASE("set_threads") {
  const int before = cpu::threads();
  cpu::set_threads(1);
  CHECK(cpu::threads() == 1);
  cpu::set_threads(3);
  CHECK(cpu::threads() == 3);
  CHECK_THROWS_WITH_AS(cpu::set_threads(0), "[cpu] the number of threads must be at least 1, got 0", Error);
  CHECK(cpu::threads() == 3);
  cpu::set_threads(before);
}

TEST_CASE("TACIT_CPU chooses among what the CPU has") {
  using cpu::Isa;
  CHECK(cpu::choose_isa(nullptr, Isa::v3) == Isa::v3);
  CHECK(cpu::choose_isa("", Isa::v3) == Isa::v3);
  CHECK(cpu::choose_isa("v2", Isa::v3) == Isa::v2);
  CHECK(cpu::choose_isa("v3", Isa::v3) == Isa::v3);
  const auto message = [](const char* wanted) {
    try {
      cpu::choose_isa(wanted, Isa::v3);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  const std::string best = cpu::isa_name(Isa::v3);
  CHECK(message("v9") == "[cpu] TACIT_CPU=v9 is not one of v2, v3, v4; unset it to use the best: " + best);
  CHECK(message("V3") == "[cpu] TACIT_CPU=V3 is not one of v2, v3, v4; unset it to use the best: " + best);
  CHECK(message("v4") ==
        std::string("[cpu] TACIT_CPU=v4: this CPU lacks ") + cpu::isa_name(Isa::v4) + "; it can do " + best);
}

TEST_CASE("memory is aligned, and scratch memory comes back") {
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{1000}, size_t{3} << 20}) {
    void* const data = backend().allocate(bytes);
    CHECK(reinterpret_cast<uintptr_t>(data) % 64 == 0);
    if (bytes > 0) std::memset(data, 1, bytes);
    backend().deallocate(data, bytes);
  }
  CHECK_THROWS_AS(backend().allocate(std::numeric_limits<size_t>::max() - 100), Error);
  CHECK_THROWS_AS(backend().allocate(size_t{1} << 60), Error);

  char* first = nullptr;
  {
    const cpu::Scratch a(70000), b(70000);
    first = b.as<char>();
    CHECK(a.as<char>() != first);
  }
  {
    const cpu::Scratch b(70001);
    CHECK(b.as<char>() != nullptr);
  }
  const cpu::Scratch c(70000), d(70000);
  CHECK((c.as<char>() == first || d.as<char>() == first));
}

TEST_CASE("OpenBLAS reports its core type") {
  const cpu::BlasReport report = cpu::blas_report();
  CHECK(report.library.find("OpenBLAS") != std::string::npos);
  CHECK(!report.core.empty());
  if (!report.warning.empty()) CHECK(report.warning.find("OPENBLAS_CORETYPE=") != std::string::npos);
}
