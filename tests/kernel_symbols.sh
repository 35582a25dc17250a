#!/usr/bin/env bash
# The objects compiled for AVX2 and AVX-512 may offer the linker no function outside their own namespace, and code that
# any CPU runs may not use their registers: otherwise an old CPU dies of an illegal instruction.
# usage: kernel_symbols.sh BUILD_DIR
cd "$1/backends" || exit 1
export LC_ALL=C
for tool in nm objdump; do
  command -v $tool > /dev/null || { echo "skipped: kernel_symbols: $tool (binutils) is not installed"; exit 77; }
done
[ -d CMakeFiles/tacit_cpu_kernels_v2.dir ] || { echo "skipped: kernel_symbols: not an x86-64 build"; exit 77; }
bad=0

# objects TARGET [PATTERN]: the object files of a target.
objects() { find "CMakeFiles/tacit_$1.dir" -path "*${2:-}*" -name '*.o' | sort; }

for isa in v2 v3 v4; do
  count=0
  for object in $(objects cpu_kernels_$isa); do
    count=$((count + 1))
    # Global, weak and indirect functions; a name that mentions the namespace belongs to this set alone.
    if strays=$(nm --defined-only "$object" | grep -E ' [TWi] ' | grep -v "6isa_$isa"); then
      echo "error: $object defines functions outside isa_$isa:"
      echo "$strays" | c++filt | head -n 5
      bad=1
    fi
  done
  [ $count -gt 0 ] || { echo "error: no objects of tacit_cpu_kernels_$isa"; bad=1; }
done

[ -n "$(objects backends)" ] || { echo "error: no objects of the layer \`backends\`"; bad=1; }
for object in $(objects cpu_kernels_v2) $(objects backends); do
  if lines=$(objdump -d "$object" | grep -m 3 -E '%[yz]mm[0-9]'); then
    echo "error: $object uses AVX registers:"
    echo "$lines"
    bad=1
  fi
done
# The check above is worth nothing if it cannot see such registers where they must be.
for isa in v3 v4; do
  objdump -d $(objects cpu_kernels_$isa gemm) | grep -q -E '%[yz]mm[0-9]' ||
    { echo "error: the products of isa_$isa use no wide registers"; bad=1; }
done
[ $bad = 0 ] && echo "kernel objects are clean"
exit $bad
