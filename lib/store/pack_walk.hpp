// Finding whole entries in the bytes of a pack nobody vouches for. Reads only; used by Packs.
#pragma once

#include "lib/store/packs.hpp"

namespace lucid::store {

enum class OnBadBytes { stop, step_over };

struct WalkRequest {
  FileOps& files;
  const File& file;
  const std::string& path;
  const Packs::ChunkLength& chunk_length;
  std::size_t header_bytes;
  std::uint32_t pack;
  std::uint64_t from, to;
  OnBadBytes on_bad_bytes;
};

PackWalk walk_pack(const WalkRequest& request, const Packs::Each& each);

}  // namespace lucid::store
