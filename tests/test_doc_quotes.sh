#!/usr/bin/env bash
# doc_quotes.sh on made-up documents: quotes that are right pass, others are told and rewritten, and a quote that could
# mean two places is an error.
# usage: test_doc_quotes.sh SOURCE_DIR
set -u
script=$1/tests/doc_quotes.sh
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1
mkdir docs outputs
cat > code.cpp <<'END'
int one() {
  if (true) {
    return 1;
  }
}
int two() { return 2; }
void three() {
  int a = 3;
  use(a, "a");
}
END
printf 'begin\n  step 1  loss 0.5\nend\n' > outputs/run.out
bad=0
# document TEXT: docs/page.md with this text; README.md and CONTRIBUTING.md are empty.
document() { : > README.md; : > CONTRIBUTING.md; printf '%s\n' "$1" > docs/page.md; }
check() { bash "$script" "$scratch" --outputs outputs "$@" > log 2>&1; }
# passes NAME [ARGUMENT…], fails NAME TEXT: the script says yes, or no and TEXT.
passes() { check "${@:2}" || { echo "FAILED: $1"; cat log; bad=1; }; }
fails() { ! check && grep -qF -- "$2" log || { echo "FAILED: $1"; cat log; bad=1; }; }
equals() { [ "$(cat docs/page.md)" = "$2" ] || { echo "FAILED: $1"; cat docs/page.md; bad=1; }; }

right=$'```cpp code.cpp "int one"\nint one() {\n  if (true) {\n    return 1;\n  }\n}\n```
```cpp code.cpp "int two"\nint two() { return 2; }\n```
1. in a list
   ```cpp code.cpp "int a =" \'"a"\'\n   int a = 3;\n   use(a, "a");\n   ```
```text output/run "step" "loss"\n  step 1  loss 0.5\n```
```text output/run "step" "loss" numbers\n  step 70  loss -2e-3\n```
```cpp\nanything, which names no source\n```'
document "$right"
passes "a function, a line, two lines in a list, output, output but for its numbers"
bash "$script" "$scratch" > log 2>&1 || { echo "FAILED: without outputs"; bad=1; }

document "${right/return 1;/return 7;}"
fails "code that differs" "<     return 7;"
passes "is rewritten" --update
equals "as its source has it" "${right/70  loss -2e-3/1  loss 0.5}"
document "${right/loss 0.5/loss 0.6}"
fails "output that differs" "step 1  loss 0.6"
document "${right/70  loss/70  accuracy}"
fails "output whose words differ" "step 70  accuracy"

document $'```cpp code.cpp "int"\n```'
fails "a quote that could begin at several lines" "'int' is in 3 lines of code.cpp"
document $'```cpp code.cpp "int four"\n```'
fails "a quote of nothing" "there is no 'int four' in code.cpp"
document $'```cpp code.cpp "void three" "int one"\n```'
fails "a quote without end" "no 'int one' follows"
document $'```cpp gone.cpp "int"\n```'
fails "a file that is gone" "there is no 'int' in gone.cpp"
document $'```cpp code.cpp "int two"\nint two() { return 2; }'
fails "a block that is not closed" "a block is not closed"
document "no quote"
fails "documents without quotes" "no document quotes anything"
exit $bad
