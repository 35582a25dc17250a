// What the tests of the command line share: outcomes that must be errors or successes, and one trained run.
#pragma once

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "process.h"

namespace tacit::testing {

using Arguments = std::vector<std::string>;

/// One line "error: …" on stderr that contains `part`, and that exit status.
inline void check_error(const Outcome& outcome, int status, const std::string& part) {
  CAPTURE(outcome.err);
  CAPTURE(outcome.out);
  CHECK(outcome.signal == 0);
  CHECK(outcome.status == status);
  const size_t at = outcome.err.rfind("error: ");
  REQUIRE(at != std::string::npos);
  const std::string line = outcome.err.substr(at);
  CHECK(line.find('\n') == line.size() - 1);
  CHECK(contains(line, part));
}

inline void check_ok(const Outcome& outcome) {
  CAPTURE(outcome.err);
  CHECK(outcome.signal == 0);
  CHECK(outcome.status == 0);
}

/// One trained run for all tests that only read it.
inline const std::string& shared_run() {
  static const TemporaryDirectory dir;
  static const std::string path = [] {
    const std::string run = dir / "run";
    check_ok(run_tacit(small_run(run)));
    return run;
  }();
  return path;
}

inline Arguments with(Arguments base, const Arguments& more) {
  base.insert(base.end(), more.begin(), more.end());
  return base;
}
inline Arguments on_run(const std::string& command, const Arguments& more) {
  return with({command, shared_run(), "--data", "synthetic:200", "--quiet"}, more);
}

}  // namespace tacit::testing
