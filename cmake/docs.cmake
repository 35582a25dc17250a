# `cmake --build build --target docs`, where Doxygen is installed: a reference of all that tacit.h includes, made of the
# headers' comments, in build/docs/html. A comment that Doxygen cannot make sense of fails the target.
find_package(Doxygen QUIET)
if(NOT DOXYGEN_FOUND)
  return()
endif()
file(STRINGS tacit.h public_headers REGEX "^#include \"")
list(TRANSFORM public_headers REPLACE "^#include \"(.*)\"$" "\\1")
set(DOXYGEN_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/docs)
set(DOXYGEN_INPUT_FILTER "awk -f ${PROJECT_SOURCE_DIR}/docs/doxygen.awk")
set(DOXYGEN_STRIP_FROM_PATH ${PROJECT_SOURCE_DIR})
set(DOXYGEN_STRIP_FROM_INC_PATH ${PROJECT_SOURCE_DIR})
set(DOXYGEN_FULL_PATH_NAMES YES)
set(DOXYGEN_JAVADOC_AUTOBRIEF YES)
set(DOXYGEN_QT_AUTOBRIEF YES)
set(DOXYGEN_EXTRACT_ALL YES)           # a name that says all has no comment
set(DOXYGEN_SORT_MEMBER_DOCS NO)       # the headers' order is the order to read in
set(DOXYGEN_AUTOLINK_SUPPORT NO)       # "batch" is seldom the class Batch
set(DOXYGEN_MACRO_EXPANSION YES)       # tables of ops declare by macros
set(DOXYGEN_INCLUDE_PATH ${PROJECT_SOURCE_DIR})
set(DOXYGEN_PREDEFINED TACIT_HD= TACIT_ISA=scalar)
set(DOXYGEN_EXCLUDE_SYMBOLS tacit::detail)
set(DOXYGEN_HAVE_DOT NO)
set(DOXYGEN_GENERATE_TREEVIEW YES)
set(DOXYGEN_WARN_AS_ERROR FAIL_ON_WARNINGS)
set(DOXYGEN_QUIET YES)
set(DOXYGEN_USE_MDFILE_AS_MAINPAGE README.md)
doxygen_add_docs(docs README.md tacit.h ${public_headers} COMMENT "Reference of the public headers: build/docs/html/index.html")
