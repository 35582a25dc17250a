#!/usr/bin/env bash
# Includes point one way: cli -> ssl -> optim -> nn -> autograd -> tensor; backends see tensor/'s interface only.
# usage: include_directions.sh SOURCE_DIR
cd "$1" || exit 1
bad=0

# forbid DIR… -- PREFIX…: no file under DIR may include a header that starts with PREFIX.
forbid() {
  local dirs=()
  while [ "$1" != -- ]; do dirs+=("$1"); shift; done
  shift
  local prefix
  for prefix in "$@"; do
    if grep -rn --include='*.h' --include='*.cpp' --include='*.cu' "#include \"$prefix" "${dirs[@]}"; then
      echo "error: ${dirs[*]} may not include $prefix"
      bad=1
    fi
  done
}

forbid tensor -- autograd/ nn/ optim/ ssl/ cli/ backends/
forbid autograd -- nn/ optim/ ssl/ cli/ backends/
forbid nn -- optim/ ssl/ cli/ backends/
forbid optim -- ssl/ cli/ backends/
forbid ssl -- cli/
forbid ssl/data -- ssl/methods/ ssl/evaluate/ ssl/train/ nn/ optim/ autograd/
forbid ssl/methods -- ssl/data/ ssl/evaluate/ ssl/train/
forbid ssl/evaluate -- ssl/train/
forbid backends -- autograd/ nn/ optim/ ssl/ cli/ tensor/tensor.h tensor/ops.h tensor/device.h
exit $bad
