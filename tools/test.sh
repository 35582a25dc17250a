#!/usr/bin/env bash
# Installs what is missing, builds, and runs every fast test. Ends with "N passed, N failed, N skipped".
#   tools/test.sh            TACIT_SKIP_INSTALL=1 leaves Debian's packages alone
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
. tools/common.sh

werror=OFF unity=OFF  # whoever edits a file wants it alone compiled
[ "${CI:-}" = true ] && werror=ON unity=ON
step "Debian packages" install_packages $TACIT_PACKAGES
# ON by name: a build directory keeps what it was once told.
step "build (build/)" build release -DTACIT_WERROR=$werror -DTACIT_UNITY=$unity \
  -DTACIT_TESTS=ON -DTACIT_EXAMPLES=ON -DTACIT_BENCHMARKS=ON
step "tests (without the slow ones, demo_accuracy, reference and test_million, which .ci/full runs)" run_tests build -LE slow -j "$(nproc)"
