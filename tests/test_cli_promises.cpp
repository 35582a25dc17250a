// What the command says holds: limits, figures that agree with each other, advice that can be followed.
#include <nlohmann/json.hpp>

#include "cli.h"

using namespace tacit::testing;
namespace fs = std::filesystem;

TEST_CASE("embed --limit: the first N of any split but test, which stays whole and says so") {
  const TemporaryDirectory dir;
  for (const char* split : {"all", "train"}) {
    const Outcome some = run_tacit(on_run("embed", {"--limit", "30", "--split", split, "--out", dir / split}));
    check_ok(some);
    CHECK(contains(some.out, ": 30 images, "));
  }
  const Outcome whole = run_tacit(
      {"embed", shared_run(), "--data", "synthetic:200", "--limit", "30", "--split", "test", "--out", dir / "test"});
  check_ok(whole);
  CHECK(contains(whole.out, ": 40 images, "));
  CHECK(contains(whole.err, "--limit"));
}
