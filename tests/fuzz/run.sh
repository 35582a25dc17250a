#!/usr/bin/env bash
# Runs every fuzz target for some seconds each, from an empty corpus and, where there are any, seeds.
# usage: run.sh BUILD_DIR SECONDS
set -u
corpus=$(mktemp -d)
trap 'rm -rf "$corpus" /dev/shm/tacit-fuzz-*' EXIT
status=0
for target in "$1"/bin/fuzz_*; do
  name=$(basename "$target")
  mkdir -p "$corpus/$name"
  echo "== $name, $2 s"
  if ! "$target" -max_total_time="$2" -max_len=65536 -rss_limit_mb=4096 -verbosity=0 -print_final_stats=1 \
      "$corpus/$name" >"$corpus/log" 2>&1; then
    tail -n 60 "$corpus/log"
    status=1
  fi
  grep -E 'stat::number_of_executed_units' "$corpus/log"
done
[ $status = 0 ] && echo "no crash"
exit $status
