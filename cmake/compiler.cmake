# Language level, warnings, sanitizers and the tools that make a second build quick.
set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

option(LUCID_FUZZ "Build the fuzzers with libFuzzer (needs clang)" OFF)
set(LUCID_SANITIZE "" CACHE STRING "Comma-separated sanitizers for the whole build")

find_program(CCACHE ccache)
if(CCACHE)
  # ccache takes no precompiled header unless it may leave out what only matters to other compilations (its manual, PRECOMPILED HEADERS).
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${CCACHE})
endif()
find_program(MOLD mold)
if(MOLD)
  add_link_options(-fuse-ld=mold)
endif()

if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  set(shadow -Wshadow=local)
endif()
add_compile_options(-Wall -Wextra ${shadow} -Wnon-virtual-dtor -Werror=return-type -fno-omit-frame-pointer)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # -Wno-restrict: false alarms of GCC 12 (PR105651); -Wno-missing-field-initializers: designated initialisers.
  add_compile_options(-Wno-restrict -Wno-missing-field-initializers)
else()
  # -fno-pch-timestamp: the same precompiled header is the same bytes, so ccache knows it.
  add_compile_options(-Wno-missing-field-initializers "SHELL:-Xclang -fno-pch-timestamp")
endif()

set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")
# Compiling dominates the sanitizer runs: -O0 halves it. What works on every byte or pixel says lucid_optimise_always().
set(CMAKE_CXX_FLAGS_DEBUG "-O0 -g1")
set(CMAKE_C_FLAGS_DEBUG "-O1 -g1")
add_compile_definitions($<$<CONFIG:Release>:_FORTIFY_SOURCE=2>)

if(LUCID_FUZZ)
  add_compile_options(-O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all)
  add_link_options(-fsanitize=address,undefined)
elseif(LUCID_SANITIZE)
  add_compile_options(-fsanitize=${LUCID_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${LUCID_SANITIZE})
endif()
