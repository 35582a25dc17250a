# How the folders become one library. Each folder is an object library `tacit_<name>` that lists its files explicitly;
# tests link the layers they test, so a fault above a layer cannot keep its tests from building.

add_library(tacit_flags INTERFACE)
target_include_directories(tacit_flags INTERFACE ${PROJECT_SOURCE_DIR})
# No -ffast-math: NaN must stay NaN. -ffp-contract is the compilers' default within one expression.
target_compile_options(tacit_flags INTERFACE -Wall -Wextra $<$<BOOL:${TACIT_WERROR}>:-Werror>
  $<$<CONFIG:Release>:-O3 -fno-math-errno -fno-trapping-math>)
if(TACIT_SANITIZE)
  target_compile_options(tacit_flags INTERFACE -fsanitize=${TACIT_SANITIZE} -fno-omit-frame-pointer -g1
    $<$<NOT:$<CXX_COMPILER_ID:Clang>>:-fno-var-tracking>)
  target_link_options(tacit_flags INTERFACE -fsanitize=${TACIT_SANITIZE})
  if(TACIT_SANITIZE MATCHES undefined)
    target_compile_options(tacit_flags INTERFACE -fno-sanitize-recover=undefined)
  endif()
endif()

set_property(GLOBAL PROPERTY TACIT_LAYERS "")

# tacit_layer(name [AFTER layer…] SOURCES file… [LIBS target…])
function(tacit_layer name)
  cmake_parse_arguments(ARG "" "" "AFTER;SOURCES;LIBS" ${ARGN})
  add_library(tacit_${name} OBJECT ${ARG_SOURCES})
  target_link_libraries(tacit_${name} PUBLIC tacit_flags PRIVATE ${ARG_LIBS})
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
  list(APPEND layers ${name} tensor backends cpu_kernels_v2 cpu_kernels_v3 cpu_kernels_v4)
  list(REMOVE_DUPLICATES layers)
  foreach(layer IN LISTS layers)
    if(TARGET tacit_${layer})
      get_property(libs GLOBAL PROPERTY TACIT_LIBS_${layer})
      target_link_libraries(${target} PRIVATE tacit_${layer} $<TARGET_OBJECTS:tacit_${layer}> ${libs})
    endif()
  endforeach()
  target_link_libraries(${target} PRIVATE tacit_flags Threads::Threads)
endfunction()
