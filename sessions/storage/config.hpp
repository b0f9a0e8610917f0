// What session-storage is told at start, and where it keeps things below the data directory.
#pragma once

#include <cstdint>
#include <string>

namespace lucid::storage {

inline constexpr const char* kServiceName = "session-storage";

struct Config {
  std::string directory;                       // storage.db and packs/ live here
  std::uint64_t pack_bytes = 64ull << 20;      // a pack longer than this is followed by the next
  std::uint64_t min_free_bytes = 64ull << 20;  // with less free on the disk no further chunk is taken
};

inline std::string directory_in(const std::string& data_dir) { return data_dir + "/storage"; }
inline std::string database_in(const std::string& directory) { return directory + "/storage.db"; }
inline std::string packs_in(const std::string& directory) { return directory + "/packs"; }

}  // namespace lucid::storage
