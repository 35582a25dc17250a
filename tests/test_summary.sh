#!/usr/bin/env bash
# The last lines of tools/test.sh from a made-up log: what counts as passed, failed and skipped, and each skip's reason.
# usage: test_summary.sh SOURCE_DIR
set -u
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
. "$1/tools/common.sh"

cat > "$scratch/ctest" <<'END'
#!/usr/bin/env bash
cat <<'LOG'
1: [doctest] test cases: 10 | 10 passed | 0 failed | 0 skipped
1/7 Test #1: test_plain .......   Passed    0.10 sec
2: skipped: full disk: no /dev/full here
2: [doctest] test cases:  5 |  5 passed | 0 failed | 0 skipped
2/7 Test #2: test_with_skip ...   Passed    0.20 sec
3: TEST CASE:  sums
3:   threw exception: [cpu] TACIT_CPU=v3: this CPU lacks x86-64-v3; it can do x86-64-v2
3: [doctest] test cases:  8 |  1 passed | 7 failed | 0 skipped
3/7 Test #3: test_kernels_v3 ..***Skipped   0.01 sec
4: skipped: interop: torch is not installed
4/7 Test #4: interop ..........***Skipped   0.01 sec
5/7 Test #5: a_script .........   Passed    0.01 sec
6: [doctest] test cases:  4 |  3 passed | 1 failed | 0 skipped
6/7 Test #6: test_bad .........***Failed    0.01 sec
7/7 Test #7: crashes ..........***Exception: SegFault 0.01 sec
LOG
END
chmod +x "$scratch/ctest"
PATH="$scratch:$PATH" run_tests "$scratch" > "$scratch/out"
bad=0
expect() { grep -qxF -- "$1" "$scratch/out" || { echo "missing line: $1"; bad=1; }; }
expect "18 passed, 2 failed, 3 skipped"  # 10 + 4 + 1 + 3; test_bad's case and the crash; a case, a program, a script
expect "skipped: full disk: no /dev/full here"
grep -q "^skipped: test_kernels_v3: .*this CPU lacks x86-64-v3" "$scratch/out" || { echo "no reason for test_kernels_v3"; bad=1; }
expect "skipped: interop: torch is not installed"
grep -q "^failed:.* test_bad" "$scratch/out" || { echo "test_bad is not named"; bad=1; }
[ $bad = 0 ] || cat "$scratch/out"
exit $bad
