# Language level, warnings, sanitizers and the tools that make a second build quick.
set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

option(LUCID_FUZZ "Build the fuzzers with libFuzzer (needs clang)" OFF)
set(LUCID_SANITIZE "" CACHE STRING "Comma-separated sanitizers for the whole build")

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()
find_program(MOLD mold)
if(MOLD)
  add_link_options(-fuse-ld=mold)
endif()

add_compile_options(-Wall -Wextra -Wshadow=local -Wnon-virtual-dtor -Werror=return-type -fno-omit-frame-pointer)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  add_compile_options(-Wno-restrict -Wno-missing-field-initializers)   # GCC 12: false alarms (PR105651); designated initialisers
endif()

set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")
# -O1 -g1: sanitizer runs stay readable and take half the time of -O0.
set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g1")
set(CMAKE_C_FLAGS_DEBUG "-O1 -g1")
add_compile_definitions(_FORTIFY_SOURCE=2)

if(LUCID_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all)
  add_link_options(-fsanitize=address,undefined)
elseif(LUCID_SANITIZE)
  add_compile_options(-fsanitize=${LUCID_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${LUCID_SANITIZE})
endif()
