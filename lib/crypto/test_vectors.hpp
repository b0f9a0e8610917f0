// For tests only: finds the published test vectors ($LUCID_VECTORS, else ../shared/vectors beside the source tree, tests
// running in the source tree's root) and loads their JSON.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>

#include <gtest/gtest.h>

#include "lib/base/bytes.hpp"
#include "lib/base/file_ops.hpp"
#include "lib/base/json.hpp"
#include "lib/base/random.hpp"

namespace lucid::test {

inline std::optional<std::string> vectors_folder() {
  const char* given = std::getenv("LUCID_VECTORS");
  std::string folder = given != nullptr ? given : "../shared/vectors";
  if (!std::filesystem::is_directory(folder)) return std::nullopt;
  return folder;
}

inline Bytes random_bytes(RandomSource& random, std::size_t size) {
  Bytes bytes(size);
  random.fill(bytes);
  return bytes;
}

inline json::value load_vectors(const std::string& path) {
  Bytes text = system_files().read_file(path);
  return parse_json(as_text(text), 64 << 20).value();
}

inline Bytes hex_field(const json::object& object, std::string_view key) {
  return from_hex(std::string_view(object.at(key).as_string())).value();
}

}  // namespace lucid::test

// Skips the test where the vectors are absent, except under CI, where that is a failure.
#define LUCID_NEED_VECTORS(folder)                                                   \
  std::optional<std::string> folder = ::lucid::test::vectors_folder();               \
  if (!folder) {                                                                     \
    const char* ci = std::getenv("CI");                                              \
    if (ci != nullptr && std::string_view(ci) == "true") FAIL() << "vectors absent"; \
    std::printf("not run: vectors absent\n");                                        \
    GTEST_SKIP() << "not run: vectors absent";                                       \
  }
