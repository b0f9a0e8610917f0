// Says what happened to the chunks of a recording whose evidence does not fit: which one is altered, missing, out of
// order, there twice or foreign. Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "lib/recording/bundle.hpp"

namespace lucid::recording {

// A chunk as it was found in a bundle.
struct FoundChunk {
  std::uint64_t first_byte = 0, last_byte = 0;
  std::optional<ChunkHeader> header;  // absent: it could not be parsed
  Hash32 leaf{};                      // RFC 9162 leaf hash; zero without a header
};

// Findings over `found` in the order of the file. `known`: the leaf hashes the signed root vouches for, or nullptr when
// there are none to trust; then the sequence numbers in the headers speak. `count`: how many chunks there should be.
// `end`: the offset after the last chunk, where missing ones belong. At most kMaxFindings.
std::vector<Finding> place_chunks(const std::vector<FoundChunk>& found, const Id& session, const std::vector<Hash32>* known,
                                  std::uint64_t count, std::uint64_t end);

}  // namespace lucid::recording
