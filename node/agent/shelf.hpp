// The chunks a storage node holds: DIRECTORY/<session id>/<16 digits>.chunk, each the stored chunk and the BLAKE3 of it. What put() returned
// from survives power loss; what get() answers is what was put. The agent cannot read chunks: they are sealed. Any thread.
#pragma once

#include <mutex>
#include <optional>
#include <string>

#include "lib/base/file_ops.hpp"
#include "lib/base/id.hpp"

namespace lucid::node_agent {

class Shelf {
 public:
  Shelf(std::string directory, FileOps& files, std::uint64_t limit_bytes);
  // Error{storage_full} beyond the limit; replaces.
  Hash32 put(const Id& session, std::uint64_t sequence, ByteView stored);
  std::optional<Bytes> get(const Id& session, std::uint64_t sequence);  // nothing: not there, or damaged
  std::uint64_t used() const;                                           // bytes of chunks

 private:
  std::string path(const Id& session, std::uint64_t sequence) const;
  std::uint64_t size_of(const std::string& path);
  std::string directory_;
  FileOps& files_;
  std::uint64_t limit_;
  mutable std::mutex mutex_;
  std::uint64_t used_ = 0;
};

}  // namespace lucid::node_agent
