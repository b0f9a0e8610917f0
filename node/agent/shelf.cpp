#include "node/agent/shelf.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "lib/crypto/hash.hpp"
#include "lib/recording/chunk.hpp"

namespace lucid::node_agent {

constexpr std::size_t kShelfSeal = 32;

Shelf::Shelf(std::string directory, FileOps& files, std::uint64_t limit_bytes)
    : directory_(std::move(directory)), files_(files), limit_(limit_bytes) {
  files_.make_directories(directory_);
  for (const std::string& session : files_.list(directory_))
    for (const std::string& name : files_.list(directory_ + "/" + session)) {
      std::string file = directory_ + "/" + session + "/" + name;
      if (name.ends_with(".chunk"))
        used_ += size_of(file);
      else
        files_.remove(file);  // what a crash left of a write
    }
}

std::string Shelf::path(const Id& session, std::uint64_t sequence) const {
  return fmt::format("{}/{}/{:016}.chunk", directory_, session.text(), sequence);
}

std::uint64_t Shelf::size_of(const std::string& path) {
  if (!files_.exists(path)) return 0;
  std::uint64_t size = files_.size(files_.open(path, OpenMode::read), path);
  return size > kShelfSeal ? size - kShelfSeal : 0;
}

Hash32 Shelf::put(const Id& session, std::uint64_t sequence, ByteView stored) {
  std::string file = path(session, sequence);
  std::lock_guard lock(mutex_);
  std::uint64_t before = size_of(file);
  if (used_ - before + stored.size() > limit_)
    throw Error(ErrorKind::storage_full,
                fmt::format("chunk {} of session {} does not fit into the {} bytes this node offers", sequence, session.text(), limit_));
  Hash32 hash = crypto::blake3(stored);
  Bytes bytes(stored.begin(), stored.end());
  bytes.insert(bytes.end(), hash.begin(), hash.end());
  files_.make_directories(directory_ + "/" + session.text());
  files_.replace_file(file, bytes);
  used_ += stored.size() - before;
  return hash;
}

std::optional<Bytes> Shelf::get(const Id& session, std::uint64_t sequence) {
  std::string file = path(session, sequence);
  Bytes bytes;
  try {
    bytes = files_.read_file(file, recording::kMaxChunkBytes + kShelfSeal);
  } catch (const Error&) { return std::nullopt; }
  if (bytes.size() < kShelfSeal) return std::nullopt;
  Bytes seal(bytes.end() - kShelfSeal, bytes.end());
  bytes.resize(bytes.size() - kShelfSeal);
  Hash32 hash = crypto::blake3(bytes);
  if (!std::equal(seal.begin(), seal.end(), hash.begin())) return std::nullopt;
  return bytes;
}

std::uint64_t Shelf::used() const {
  std::lock_guard lock(mutex_);
  return used_;
}

}  // namespace lucid::node_agent
