#!/usr/bin/env bash
# The README's C++ is examples/05_simclr.cpp but for argument handling and the catch of errors; layout does not count.
# usage: readme_example.sh SOURCE_DIR
set -u
readme=$(sed -n '/^```cpp$/,/^```$/p' "$1/README.md")
# From the loader to the end of training, without white space.
core() { sed -n '/ssl::Loader loader/,/write_safetensors/p' | tr -d ' \n'; }
in_readme=$(core <<< "$readme")
in_example=$(core < "$1/examples/05_simclr.cpp")
if [ -z "$in_readme" ] || [ "$in_readme" != "$in_example" ]; then
  echo "README.md and examples/05_simclr.cpp differ:"
  diff <(tr ';' '\n' <<< "$in_readme") <(tr ';' '\n' <<< "$in_example")
  exit 1
fi
for line in '#include "tacit.h"' 'using namespace tacit;'; do
  grep -qxF "$line" <<< "$readme" && grep -qxF "$line" "$1/examples/05_simclr.cpp" || { echo "missing: $line"; exit 1; }
done
