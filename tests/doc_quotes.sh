#!/usr/bin/env bash
# Code and output in the documentation are quotes: this checks that they equal what they quote, or rewrites them.
# usage: doc_quotes.sh SOURCE_DIR [--outputs DIR] [--update]
#
# A fenced block that names its source behind the language is a quote:
#   ```cpp examples/03_mlp.cpp "class Spirals"          from the one line with this text to the brace that closes it at
#                                                        the same indentation (a line that ends in ; or } is alone)
#   ```cpp examples/03_mlp.cpp "for (int64" "step();"   … to the next line with the second text
#   ```text output/02_tensors "strides" "random"         lines of DIR/02_tensors.out; looked at with --outputs alone
#   ```text output/03_mlp "step    0" numbers            where numbers differ from machine to machine: only the words and
#                                                        marks between them must agree
# Other blocks are left alone. Code loses the indentation of its first line.
set -u
source_dir=$1 outputs="" update=0
shift
while [ $# -gt 0 ]; do
  case $1 in
    --outputs) outputs=$2; shift 2 ;;
    --update) update=1; shift ;;
    *) echo "error: unknown argument $1"; exit 2 ;;
  esac
done
cd "$source_dir" || exit 1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Prints the document with every quote as its source has it now.
cat > "$scratch/render.awk" <<'AWK'
function fail(why) { print FILENAME ":" FNR ": " why > "/dev/stderr"; failed = 1 }
function indent_of(line) { match(line, /^ */); return RLENGTH }
# Cuts the next word, or text in "…" or '…', from the front of `rest`.
function word(  w, mark, end) {
  sub(/^ +/, "", rest)
  mark = substr(rest, 1, 1)
  if (mark == "\"" || mark == "\047") {
    end = index(substr(rest, 2), mark); w = substr(rest, 2, end - 1); rest = substr(rest, end + 2)
  } else { match(rest, /^[^ ]*/); w = substr(rest, 1, RLENGTH); rest = substr(rest, RLENGTH + 1) }
  return w
}
function without_numbers(line) {
  gsub(/-?[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?/, "#", line)
  gsub(/ +/, " ", line)
  return line
}
# Lines of the file from `first` to `last` into quoted[1 … count]; "" is no bound. False, with a word, if there are none.
function quote(path, first, last,  line, from, hits, done) {
  count = 0; hits = 0; done = 0; from = 0
  while ((getline line < path) > 0) {
    if (first == "" || (index(line, first) && ++hits == 1)) {
      if (!count) from = path ~ /\.out$/ ? 0 : indent_of(line)
      if (first == "" || !count) { quoted[++count] = line; if (first != "") done = ends(line, last, from, 1); continue }
    }
    if (count && !done && first != "") { quoted[++count] = line; done = ends(line, last, from, 0) }
  }
  close(path)
  if (!count) { fail("there is no '" first "' in " path); return 0 }
  if (hits > 1) { fail("'" first "' is in " hits " lines of " path "; quote more of the one that is meant"); return 0 }
  if (first != "" && !done) { fail("nothing closes '" first "' in " path (last == "" ? "" : ": no '" last "' follows")); return 0 }
  for (i = 1; i <= count; ++i) quoted[i] = substr(quoted[i], (indent_of(quoted[i]) < from ? indent_of(quoted[i]) : from) + 1)
  return 1
}
function ends(line, last, from, is_first) {
  if (last != "") return index(line, last) > 0
  return is_first ? line ~ /[;}]$/ : indent_of(line) == from && substr(line, from + 1, 1) == "}"
}
/^ *```[a-z]+ +[^ ]/ && !inside {
  fence = $0; pad = substr($0, 1, indent_of($0)); rest = $0
  sub(/^ *```[a-z]+ +/, "", rest)
  name = word(); first = word(); last = word(); masked = last == "numbers"
  if (masked) last = ""
  sub(/^ +/, "", rest)
  if (rest == "numbers") masked = 1
  path = name
  if (name ~ /^output\//) path = outputs == "" ? "" : outputs "/" substr(name, 8) ".out"
  inside = 1; have = 0; print; next
}
inside && $0 == pad "```" {
  inside = 0
  same = 0
  if (path == "" || !quote(path, first, last)) same = 1
  else if (masked && !update && have == count) {
    same = 1
    for (i = 1; i <= count; ++i) if (without_numbers(kept[i]) != without_numbers(quoted[i])) same = 0
  }
  if (same) for (i = 1; i <= have; ++i) print (kept[i] == "" ? "" : pad kept[i])
  else for (i = 1; i <= count; ++i) print (quoted[i] == "" ? "" : pad quoted[i])
  print; next
}
inside { kept[++have] = substr($0, 1, length(pad)) == pad ? substr($0, length(pad) + 1) : $0; next }
{ print }
END { if (inside) fail("a block is not closed"); exit failed }
AWK

bad=0 quotes=0
for page in README.md CONTRIBUTING.md $(find docs -name '*.md' | sort); do
  quotes=$((quotes + $(grep -cE '^ *```[a-z]+ +[^ ]' "$page")))
  awk -v outputs="$outputs" -v update=$update -f "$scratch/render.awk" "$page" > "$scratch/page" || bad=1
  cmp -s "$page" "$scratch/page" && continue
  if [ $update = 1 ]; then
    cat "$scratch/page" > "$page"
    echo "updated: $page"
  else
    echo "error: $page does not quote its sources (< has, > should be); tests/doc_quotes.sh . --update rewrites it:"
    diff "$page" "$scratch/page"
    bad=1
  fi
done
[ $quotes -gt 0 ] || { echo "error: no document quotes anything"; bad=1; }
exit $bad
