# lucid_library(NAME SOURCES ... [DEPS ...])         a static library lucid_NAME; sources are listed, never globbed
# lucid_tests(NAME SOURCES ... [DEPS ...] [LABELS])  one GoogleTest binary for a folder, one ctest case; labels: quick
#                                                    (default; also run under ASan+UBSan), threads (also under TSan), full
# lucid_bench(NAME SOURCES ... [DEPS ...])           one Google Benchmark binary for a folder
# lucid_fuzzer(NAME SOURCES ... [DEPS ...] CORPUS d) fuzz_NAME; without clang the same code replays its corpus as a test
# lucid_executable(NAME SOURCES ... [DEPS ...])      an executable in out/<preset>/bin
set(LUCID_BIN ${CMAKE_BINARY_DIR}/bin)

# What the sanitizer presets build (./test): every quick test and fuzz corpus; the tests labelled `threads`.
add_custom_target(sanitized)
add_custom_target(threaded)
# What scripts/fuzz.sh builds: every fuzzer and nothing else.
add_custom_target(fuzzers)

function(lucid_library name)
  cmake_parse_arguments(A "" "" "SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
  add_library(lucid_${name} STATIC ${A_SOURCES})
  target_include_directories(lucid_${name} PUBLIC ${PROJECT_SOURCE_DIR})
  target_link_libraries(lucid_${name} PUBLIC ${A_DEPS} PRIVATE ${A_PRIVATE_DEPS})
endfunction()

# Half of what compiling a test costs is the headers that all of them include: parsed once, here.
add_executable(test_headers ${PROJECT_SOURCE_DIR}/cmake/test_headers.cpp)
target_link_libraries(test_headers PRIVATE GTest::gmock Boost::json)
target_compile_options(test_headers PRIVATE -O0 -U_FORTIFY_SOURCE)
target_precompile_headers(test_headers PRIVATE <gmock/gmock.h> <gtest/gtest.h> <boost/json.hpp> <algorithm> <array> <atomic> <chrono>
  <condition_variable> <filesystem> <fstream> <functional> <map> <mutex> <optional> <random> <set> <sstream> <thread> <unordered_map>)

# For a folder's CMakeLists.txt: its code is optimised in debug and sanitizer builds too.
macro(lucid_optimise_always)
  add_compile_options($<$<CONFIG:Debug>:-O1>)
endmacro()

function(lucid_tests name)
  cmake_parse_arguments(A "" "TIMEOUT" "SOURCES;DEPS;LABELS" ${ARGN})
  add_executable(${name}_tests ${A_SOURCES})
  target_link_libraries(${name}_tests PRIVATE ${A_DEPS} GTest::gmock GTest::gtest_main)
  # What a test asserts is compiled unoptimised (it costs half the compile time); what it tests is not.
  target_compile_options(${name}_tests PRIVATE -O0 -U_FORTIFY_SOURCE)
  target_precompile_headers(${name}_tests REUSE_FROM test_headers)
  set_target_properties(${name}_tests PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME ${name} COMMAND ${name}_tests --gtest_brief=1 WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 120)
  endif()
  if(NOT A_LABELS)
    set(A_LABELS quick)
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT ${A_TIMEOUT} LABELS "${A_LABELS}")
  if("quick" IN_LIST A_LABELS)
    add_dependencies(sanitized ${name}_tests)
  endif()
  if("threads" IN_LIST A_LABELS)
    add_dependencies(threaded ${name}_tests)
  endif()
endfunction()

function(lucid_bench name)
  cmake_parse_arguments(A "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name}_bench ${A_SOURCES})
  target_link_libraries(${name}_bench PRIVATE ${A_DEPS} benchmark::benchmark)
  set_target_properties(${name}_bench PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bench)
endfunction()

function(lucid_fuzzer name)
  cmake_parse_arguments(A "" "CORPUS" "SOURCES;DEPS" ${ARGN})
  if(LUCID_FUZZ)
    add_executable(fuzz_${name} ${A_SOURCES})
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  else()
    add_executable(fuzz_${name} ${A_SOURCES} ${PROJECT_SOURCE_DIR}/tests/fuzz/replay_main.cpp)
    add_test(NAME fuzz_corpus_${name} COMMAND fuzz_${name} ${A_CORPUS})
    set_tests_properties(fuzz_corpus_${name} PROPERTIES TIMEOUT 120 LABELS quick)
    add_dependencies(sanitized fuzz_${name})
  endif()
  add_dependencies(fuzzers fuzz_${name})
  target_link_libraries(fuzz_${name} PRIVATE ${A_DEPS})
  set_target_properties(fuzz_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
endfunction()

function(lucid_executable name)
  cmake_parse_arguments(A "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  target_link_libraries(${name} PRIVATE ${A_DEPS})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${LUCID_BIN})
endfunction()
