# Steps shared by demo.sh, test.sh and the CI scripts: Debian packages, building, counting tests. Sourced, not run.

TACIT_PACKAGES="g++ cmake ninja-build libopenblas-dev libtbb-dev libstb-dev doctest-dev libcli11-dev libtomlplusplus-dev
  nlohmann-json3-dev zlib1g-dev libarchive-dev libbenchmark-dev"

# step TEXT COMMAND…: says what is done, does it, and on failure says which step it was.
step() {
  local text=$1
  shift
  printf '\n== %s\n' "$text"
  "$@" && return
  local status=$?
  printf '\nerror: the step "%s" failed with status %d\n' "$text" "$status" >&2
  exit "$status"
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# install_packages NAME…: the packages that are not installed yet; nothing at all with TACIT_SKIP_INSTALL=1.
install_packages() {
  if [ "${TACIT_SKIP_INSTALL:-0}" = 1 ]; then
    echo "skipped: TACIT_SKIP_INSTALL=1"
    return
  fi
  local missing=() name
  for name in "$@"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || missing+=("$name")
  done
  if [ ${#missing[@]} = 0 ]; then
    echo "all installed"
    return
  fi
  echo "installing: ${missing[*]}"
  as_root apt-get update -qq &&
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# build PRESET [CMAKE OPTION…] [-- TARGET…]: configures quietly (the log is shown when it fails) and builds.
build() {
  local preset=$1 log
  shift
  local options=()
  while [ $# -gt 0 ] && [ "$1" != -- ]; do options+=("$1"); shift; done
  [ $# -gt 0 ] && shift
  log=$(mktemp)
  if ! cmake --preset "$preset" "${options[@]}" >"$log" 2>&1; then
    cat "$log"
    rm -f "$log"
    return 1
  fi
  grep -E 'warning|skipped' "$log" || true
  rm -f "$log"
  cmake --build --preset "$preset" ${1:+--target "$@"}
}

# run_tests BUILD_DIR [CTEST OPTION…]: runs the tests, shows what failed, and ends with "N passed, N failed, N skipped":
# doctest cases summed over the binaries, a script counting as one. A test that cannot run here prints a line
# "skipped: NAME: reason" (a script then exits 77). Fails if a test failed or none ran.
run_tests() {
  local dir=$1 log status=0
  shift
  log=$(mktemp)
  ctest --test-dir "$dir" -V --no-tests=error "$@" >"$log" 2>&1 || status=$?
  awk '
    match($0, /^[0-9]+: /) { n = substr($0, 1, RLENGTH - 2) + 0; rest = substr($0, RLENGTH + 1) }
    /^[0-9]+: skipped: / { skips[n]++; reasons = reasons rest "\n" }
    /^[0-9]+: .*this CPU lacks/ { lacks[n] = rest }  # what the tests of other instruction sets say
    /^[0-9]+: \[doctest\] test cases:/ {
      split(rest, part, /[:|]/)
      passed[n] += part[3] + 0; failed[n] += part[4] + 0; counted[n] = 1
    }
    /^ *[0-9]+\/[0-9]+ Test +#[0-9]+:/ {
      match($0, /#[0-9]+:/); n = substr($0, RSTART + 1, RLENGTH - 2) + 0
      line = substr($0, RSTART + RLENGTH); sub(/^ */, "", line); sub(/ .*/, "", line)
      seen[n] = 1; name[n] = line
      ok[n] = /Passed/ ? 1 : (/\*\*\*Skipped/ ? 2 : 0)
      seconds[n] = $(NF - 1)
    }
    END {
      for (n in seen) {
        if (ok[n] == 2) {  # the whole program, whatever it counted before it stopped
          s++
          if (!skips[n]) reasons = reasons "skipped: " name[n] ": " (lacks[n] ? lacks[n] : "no reason given") "\n"
        } else if (counted[n]) { p += passed[n] - skips[n]; f += failed[n]; s += skips[n]; bad = !ok[n] && failed[n] == 0 }
        else if (ok[n] == 1) p++
        else bad = 1
        if (bad) { f++; bad = 0 }
        if (!ok[n]) broken = broken " " name[n]
      }
      for (n in seen) printf "  %-28s %s s\n", name[n], seconds[n] | "sort"
      close("sort")
      if (broken) print "failed:" broken
      printf "%s", reasons
      printf "%d passed, %d failed, %d skipped\n", p, f, s
    }' "$log" >"$log.summary"
  if [ "$status" != 0 ]; then
    sed -n 's/^[0-9]*: //p' "$log" | grep -E -A 30 'ERROR|FATAL|error:|Sanitizer|runtime error|TEST CASE' | tail -n 200
  fi
  cat "$log.summary"
  rm -f "$log" "$log.summary"
  return "$status"
}
