// For tests: receipts of small numbered nodes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "lib/base/file_ops.hpp"
#include "node/poot/receipt.hpp"
#include "node/poot/test_random.hpp"

namespace lucid::poot {

inline Id numbered(std::uint32_t n, std::uint8_t kind = 0x01) {
  std::array<std::uint8_t, 16> bytes{};
  bytes[0] = kind;
  for (std::size_t i = 0; i < 4; ++i) bytes[15 - i] = static_cast<std::uint8_t>(n >> (8 * i));
  return Id(bytes);
}
inline Id session(std::uint32_t n) { return numbered(n, 0x5e); }

inline Receipt hosting(Epoch epoch, const Id& node, std::vector<HostingSlot> slots) { return {epoch, node, Hosting{std::move(slots)}}; }
inline Receipt up(Epoch epoch, const Id& node, std::uint32_t from, std::uint32_t count) {
  Uptime uptime;
  for (std::uint32_t slot = from; slot < from + count; ++slot) uptime.set(slot);
  return {epoch, node, uptime};
}
inline Receipt all_up(Epoch epoch, const Id& node) { return up(epoch, node, 0, kSlotsPerEpoch); }
inline Receipt storage(Epoch epoch, const Id& node, Storage storage) { return {epoch, node, storage}; }
inline Receipt validation(Epoch epoch, const Id& node, std::vector<Id> sessions) { return {epoch, node, Validation{std::move(sessions)}}; }

// Compares with tests/golden/<name>; LUCID_WRITE_GOLDEN=1 writes it anew.
inline void expect_golden(const std::string& name, ByteView made) {
  const std::filesystem::path path = "tests/golden/" + name;
  const char* write = std::getenv("LUCID_WRITE_GOLDEN");
  if (write != nullptr && std::string_view(write) == "1") {
    std::filesystem::create_directories(path.parent_path());
    system_files().replace_file(path.string(), made);
  }
  ASSERT_TRUE(std::filesystem::exists(path)) << path << " is missing";
  EXPECT_TRUE(std::ranges::equal(system_files().read_file(path.string()), made)) << path;
}

}  // namespace lucid::poot
