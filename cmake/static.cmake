# TACIT_STATIC: the command as one file that needs no library of the machine it runs on, C library included. Everything
# linked is the distribution's .a file, except oneTBB, of which distributions have no .a: it is compiled here from the
# source tree TACIT_TBB_SOURCE. (oneTBB advises against static builds because a process may then hold two schedulers;
# this one is a single file and loads no other.) tools/static.sh does all of it on Debian.
if(NOT EXISTS "${TACIT_TBB_SOURCE}/src/tbb/CMakeLists.txt")
  message(FATAL_ERROR "TACIT_STATIC needs oneTBB's source tree: -DTACIT_TBB_SOURCE=DIR, as from `apt-get source onetbb`, "
    "which tools/static.sh runs; '${TACIT_TBB_SOURCE}' is none")
endif()
if(TACIT_CUDA AND NOT TACIT_CUDA STREQUAL AUTO)
  message(FATAL_ERROR "TACIT_CUDA=${TACIT_CUDA} and TACIT_STATIC: NVIDIA's driver is a shared library")
endif()
set(TACIT_CUDA OFF)

set(CMAKE_FIND_LIBRARY_SUFFIXES .a)  # libarchive's tar and gzip, all that tacit calls, need zlib alone
set(BLA_STATIC ON)
add_link_options(-static $<$<CONFIG:Release>:-s>)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  # OpenBLAS's kernels for processors below x86-64-v2, on which tacit stops at once: a third of the whole file. Its
  # baseline stands in for them, as in an OpenBLAS that was built with a DYNAMIC_LIST.
  foreach(core CORE2 PENRYN DUNNINGTON OPTERON OPTERON_SSE3 BARCELONA BOBCAT ATOM NANO)
    add_link_options(-Wl,--defsym=gotoblas_${core}=gotoblas_PRESCOTT)
  endforeach()
endif()

set(CMAKE_POLICY_DEFAULT_CMP0077 NEW)  # its options heed the variables set here
set(BUILD_SHARED_LIBS OFF)
set(TBB_TEST OFF)
set(TBB_STRICT OFF)
set(TBBMALLOC_BUILD OFF)
add_subdirectory(${TACIT_TBB_SOURCE} onetbb EXCLUDE_FROM_ALL SYSTEM)
target_compile_options(tbb PRIVATE -w)  # GCC 12's false alarms
# What it would look for with dlopen(), which a static file cannot do, is not there: its allocator and Intel's profilers.
add_link_options(-Wl,--wrap=dlopen -Wl,--defsym=__wrap_dlopen=0)
get_target_property(definitions tbb COMPILE_DEFINITIONS)
list(REMOVE_ITEM definitions __TBB_USE_ITT_NOTIFY)
set_target_properties(tbb PROPERTIES COMPILE_DEFINITIONS "${definitions}")

string(REGEX MATCH "^[0-9]+" compiler "${CMAKE_CXX_COMPILER_VERSION}")
# What others wrote is in the file, and their licences go with it: Debian keeps them beside each package.
file(COPY ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${PROJECT_BINARY_DIR}/licences)
configure_file(${TACIT_TBB_SOURCE}/LICENSE.txt ${PROJECT_BINARY_DIR}/licences/onetbb COPYONLY)
foreach(package libopenblas-pthread-dev libarchive-dev libjpeg62-turbo-dev libstb-dev zlib1g-dev nlohmann-json3-dev
                libtomlplusplus-dev libcli11-dev libc6-dev gcc-${compiler}-base)
  if(NOT EXISTS /usr/share/doc/${package}/copyright)
    message(FATAL_ERROR "TACIT_STATIC: there is no /usr/share/doc/${package}/copyright; the file may not go without the "
      "licences of what is in it")
  endif()
  configure_file(/usr/share/doc/${package}/copyright ${PROJECT_BINARY_DIR}/licences/${package} COPYONLY)
endforeach()
install(DIRECTORY ${PROJECT_BINARY_DIR}/licences DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/tacit COMPONENT command)
