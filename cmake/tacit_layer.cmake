# How the folders become one library. Each folder is an object library `tacit_<name>` that lists its files explicitly;
# tests link the layers they test, so a fault above a layer cannot keep its tests from building.

add_library(tacit_flags INTERFACE)
target_include_directories(tacit_flags INTERFACE ${PROJECT_SOURCE_DIR})
# No -ffast-math: NaN must stay NaN. -ffp-contract is the compilers' default within one expression.
target_compile_options(tacit_flags INTERFACE $<$<CONFIG:Release>:-O3 -fno-math-errno -fno-trapping-math>)
if(TACIT_SANITIZE)
  target_compile_options(tacit_flags INTERFACE -w)  # instrumented code brings false warnings; plain builds have the true
else()
  target_compile_options(tacit_flags INTERFACE -Wall -Wextra $<$<BOOL:${TACIT_WERROR}>:-Werror>)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(tacit_flags INTERFACE -Wno-restrict)  # false alarms on std::string's + (GCC bug 105651)
endif()
if(TACIT_SANITIZE)
  target_compile_options(tacit_flags INTERFACE -fsanitize=${TACIT_SANITIZE} -fno-omit-frame-pointer -g1
    $<$<NOT:$<CXX_COMPILER_ID:Clang>>:-fno-var-tracking>)
  target_link_options(tacit_flags INTERFACE -fsanitize=${TACIT_SANITIZE})
  if(TACIT_SANITIZE MATCHES undefined)
    target_compile_options(tacit_flags INTERFACE -fno-sanitize-recover=undefined)
    if(NOT TACIT_FUZZ)
      # A third of the compile time; the address sanitizer sees the first three as they strike, and the fuzzers, which
      # read foreign bytes, keep them all.
      target_compile_options(tacit_flags INTERFACE -fno-sanitize=null,vptr,object-size,alignment)
    endif()
  endif()
endif()
if(TACIT_FUZZ)
  target_compile_options(tacit_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# Linked after tacit_flags by code without a loop of its own: its -O1 then has the last word, and compiles faster.
add_library(tacit_quick_compile INTERFACE)
target_compile_options(tacit_quick_compile INTERFACE $<$<CONFIG:Release>:-O1>)

# Precompiled standard headers, for builds without warnings: inlined from them, GCC 12 warns of the library's own code.
set(TACIT_STANDARD_HEADERS <algorithm> <array> <cmath> <cstdint> <cstring> <filesystem> <functional> <map> <memory>
  <numeric> <optional> <set> <span> <sstream> <string> <utility> <vector>)
file(GENERATE OUTPUT ${PROJECT_BINARY_DIR}/precompiled.cpp CONTENT "// A target needs a source.\n")
if(TACIT_SANITIZE)
  add_library(tacit_precompiled OBJECT ${PROJECT_BINARY_DIR}/precompiled.cpp)
  target_link_libraries(tacit_precompiled PRIVATE tacit_flags)
  target_precompile_headers(tacit_precompiled PRIVATE ${TACIT_STANDARD_HEADERS})
endif()

# Half of a file's time is its headers. Nine at a time suffice, and leave work for both cores to the end.
function(tacit_unity target)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ${TACIT_UNITY} UNITY_BUILD_BATCH_SIZE 9)
endfunction()

set_property(GLOBAL PROPERTY TACIT_LAYERS "")

# tacit_layer(name [AFTER layer…] SOURCES file… [LIBS target…])
function(tacit_layer name)
  cmake_parse_arguments(ARG "" "" "AFTER;SOURCES;LIBS" ${ARGN})
  set_property(GLOBAL PROPERTY TACIT_BELOW_${name} "${ARG_AFTER}")
  add_library(tacit_${name} OBJECT ${ARG_SOURCES})
  target_link_libraries(tacit_${name} PUBLIC tacit_flags PRIVATE ${ARG_LIBS})
  tacit_unity(tacit_${name})
  if(TARGET tacit_precompiled)
    target_precompile_headers(tacit_${name} REUSE_FROM tacit_precompiled)
  endif()
  set_property(GLOBAL APPEND PROPERTY TACIT_LAYERS ${name})
  set(below)
  foreach(layer IN LISTS ARG_AFTER)
    get_property(lower GLOBAL PROPERTY TACIT_BELOW_${layer})
    list(APPEND below ${lower} ${layer})
  endforeach()
  list(REMOVE_DUPLICATES below)
  set_property(GLOBAL PROPERTY TACIT_BELOW_${name} "${below}")
  set_property(GLOBAL PROPERTY TACIT_LIBS_${name} "${ARG_LIBS}")
endfunction()

# Links a test or tool with the objects of a layer and of every layer below it (and the backends, always).
function(tacit_link_layer target name)
  get_property(layers GLOBAL PROPERTY TACIT_BELOW_${name})
  get_property(kernels GLOBAL PROPERTY TACIT_KERNEL_LAYERS)  # which they are depends on the processor
  list(APPEND layers ${name} tensor backends ${kernels})
  list(REMOVE_DUPLICATES layers)
  foreach(layer IN LISTS layers)
    if(TARGET tacit_${layer})
      get_property(libs GLOBAL PROPERTY TACIT_LIBS_${layer})
      target_link_libraries(${target} PRIVATE tacit_${layer} ${libs})
    endif()
  endforeach()
  target_link_libraries(${target} PRIVATE tacit_flags Threads::Threads)
endfunction()

# The installable library: every layer's objects in one file, and the package that find_package(tacit) reads.
function(tacit_library)
  get_property(layers GLOBAL PROPERTY TACIT_LAYERS)
  set(objects)
  set(libs)
  foreach(layer IN LISTS layers)
    get_property(layer_libs GLOBAL PROPERTY TACIT_LIBS_${layer})
    list(APPEND libs ${layer_libs})
    list(APPEND objects $<TARGET_OBJECTS:tacit_${layer}>)
  endforeach()
  list(REMOVE_DUPLICATES libs)
  list(REMOVE_ITEM libs nlohmann_json::nlohmann_json)  # header-only, used inside .cpp files only

  if(TACIT_SHARED)
    add_library(tacit SHARED ${objects})
    set_target_properties(tacit PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})
  else()
    add_library(tacit STATIC ${objects})
  endif()
  add_library(tacit::tacit ALIAS tacit)
  target_compile_features(tacit PUBLIC cxx_std_20)
  target_include_directories(tacit PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>
                                          $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/tacit>)
  target_link_libraries(tacit PRIVATE ${libs} PUBLIC Threads::Threads)
  if(TACIT_SANITIZE)
    target_link_options(tacit PUBLIC -fsanitize=${TACIT_SANITIZE})
  endif()

  if(TACIT_STATIC)
    return()  # of use to nobody else: its oneTBB belongs to this build
  endif()
  include(CMakePackageConfigHelpers)
  install(TARGETS tacit EXPORT tacitTargets)
  install(EXPORT tacitTargets NAMESPACE tacit:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/tacit)
  configure_package_config_file(cmake/tacitConfig.cmake.in ${PROJECT_BINARY_DIR}/tacitConfig.cmake
    INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/tacit)
  write_basic_package_version_file(${PROJECT_BINARY_DIR}/tacitConfigVersion.cmake COMPATIBILITY SameMinorVersion)
  install(FILES ${PROJECT_BINARY_DIR}/tacitConfig.cmake ${PROJECT_BINARY_DIR}/tacitConfigVersion.cmake
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/tacit)
  install(DIRECTORY tensor autograd nn optim ssl DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/tacit
    FILES_MATCHING PATTERN "*.h")
  install(FILES backends/cpu/backend.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/tacit/backends/cpu)
  install(FILES tacit.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/tacit)
endfunction()
