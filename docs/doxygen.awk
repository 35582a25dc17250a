# How Doxygen reads a header (cmake/docs.cmake): its opening comment tells of the file, and of the class that the file is
# named after; XOptions are the options of X; "// ---- words" begins a group; the ops that a table declares stand there
# one by one. Lines keep their numbers.
function close_group() {
  if (!grouped) return ""
  grouped = 0
  return "/**@}*/ "
}

# The declaration for every function of the table TACIT_FOREACH_`which` in tensor/scalar_ops.h.
function declared(declaration, which,    file, line, inside, all, part, one) {
  file = "tensor/scalar_ops.h"
  while ((getline line < file) > 0) {
    if (line ~ "^#define TACIT_FOREACH_" which "\\(") inside = 1
    else if (inside && split(line, part, /[(, ]+/) > 3 && part[2] == "X") {
      one = declaration
      sub(/ name\(/, " " part[4] "(", one)
      all = all one " "
      if (line !~ /\\$/) break
    }
  }
  close(file)
  return all
}

FILENAME !~ /\.h$/ { print; next }
FNR == 1 {
  stem = FILENAME
  sub(/.*\//, "", stem); sub(/\.h$/, "", stem); gsub(/_/, "", stem)
  opening = 1
}
opening && /^\/\// {
  sub(/^\/\/ ?/, "")
  if (/^  / || formula) $0 = "@n " $0  # a formula has a line of its own
  formula = /^@n   /
  words = words " " $0
  print "//! " $0
  next
}
opening { opening = 0; print "//! @file"; next }  # in the place of #pragma once
/^ *\/\/ ---- / {
  indent = index($0, "/") - 1
  sub(/^ *\/\/ ---- /, "")
  print close_group() "/** @name " $0 " */ /**@{*/"
  grouped = 1
  next
}
/^#define TACIT_DECLARE\(/ { declaration = $0; sub(/^[^)]*\) /, "", declaration); print ""; next }
/^TACIT_FOREACH_[A-Z]+\(TACIT_DECLARE\)/ {
  sub(/^TACIT_FOREACH_/, ""); sub(/\(.*/, "")
  print declared(declaration, $0)
  next
}
/^#undef TACIT_DECLARE$/ { print ""; next }
grouped && (indent ? /^ ? ?};/ : /^}  \/\/ namespace/) { printf "%s", close_group() }
/^(class|struct) [A-Za-z]/ && before !~ /\/\/\// {
  name = $2
  sub(/[^A-Za-z0-9].*/, "", name)
  if (/;$/) ;
  else if (tolower(name) == stem) printf "/** %s */ ", words
  else if (match(name, /(Options|Result)$/))
    printf "/** %s of %s. */ ", substr(name, RSTART), substr(name, 1, RSTART - 1)
}
{ print; before = $0 }
