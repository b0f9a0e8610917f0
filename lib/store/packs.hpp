// Chunk bytes on disk: append-only pack files per session, DIRECTORY/<session id>/<8 digits>.pack, 64 MiB each, one
// writer. A pack is a plain concatenation of entries; an entry is a stored chunk (its header says how long it is) and
// the BLAKE3 of it, so everything can be found and checked from packs alone (docs/formats/pack.md). Owned by
// session-storage; thread-safe. What append() returned survives power loss; a torn tail left by a crash is cut off when
// the session's writer opens. After an Error nothing of the failed chunk is visible, whatever is left of it on disk.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/bytes.hpp"
#include "lib/base/file_ops.hpp"
#include "lib/base/id.hpp"

namespace lucid::store {

struct PackLocation {
  std::uint32_t pack = 0;
  std::uint64_t offset = 0;
  std::uint32_t length = 0;
  bool operator==(const PackLocation&) const = default;
};

inline constexpr std::size_t kPackSealSize = 32;  // BLAKE3 behind every stored chunk

// How far the index knows a session: behind its last entry.
struct PackEnd {
  std::uint32_t pack = 0;
  std::uint64_t offset = 0;
  static PackEnd after(const PackLocation& last) { return {last.pack, last.offset + last.length + kPackSealSize}; }
  auto operator<=>(const PackEnd&) const = default;
};

// One whole entry: the chunk's bytes match the BLAKE3 behind them. Valid during the call it is handed to.
struct PackEntry {
  PackLocation location;
  ByteView stored;
  Hash32 blake3{};
};

// What a walk over one pack saw besides whole entries.
struct PackWalk {
  std::uint64_t end = 0;                                     // behind the last whole entry (or where the walk began)
  std::uint64_t size = 0;                                    // of the file
  std::vector<std::pair<std::uint64_t, std::uint64_t>> bad;  // [from, to) that belong to no whole entry
};

class Packs {
 public:
  using ChunkLength =
      std::function<std::optional<std::uint32_t>(ByteView header)>;  // stored length from the first bytes, nullopt: not a chunk
  using Each = std::function<void(const PackEntry&)>;
  Packs(std::string directory, FileOps& files, ChunkLength chunk_length, std::size_t header_bytes, std::uint64_t pack_size = 64 << 20);
  ~Packs();

  // Opens the session's writer, if it is not open: makes what is behind `known` durable, hands each whole entry there to
  // `each`, cuts off what follows the last one. Bytes before `known` are never written again, even where the file that
  // held them is gone. append() alone opens with everything before the last pack known.
  void open(const Id& session, const PackEnd& known, const Each& each);
  // Durable when it returns. Concurrent appends share one fdatasync per file. Error{storage_full} leaves no partial chunk
  // visible. `blake3` of `stored` spares computing it again.
  PackLocation append(const Id& session, ByteView stored, const Hash32* blake3 = nullptr);
  // Exactly location.length bytes; Error{corrupt, "pack_short"} when the pack is shorter, Error{not_found} without a pack.
  Bytes read(const Id& session, const PackLocation& location) const;
  Bytes read_range(const Id& session, const PackLocation& location, std::uint32_t from, std::uint32_t size) const;
  std::vector<std::uint32_t> list(const Id& session) const;
  std::vector<Id> sessions() const;
  // Every whole entry of a pack from its start, in order; stops at the first that is not; answers the offset it got to.
  std::uint64_t scan(const Id& session, std::uint32_t pack, const std::function<void(const PackLocation&, ByteView stored)>& each) const;
  // Every whole entry in [from, to) of a pack, stepping over bytes that belong to none. `to` may lie behind the end.
  PackWalk walk(const Id& session, std::uint32_t pack, std::uint64_t from, std::uint64_t to, const Each& each) const;
  // Closes the writer and removes the session's packs; durable.
  void remove(const Id& session);
  // Closes the writer of a finished session.
  void close(const Id& session);
  std::string path(const Id& session, std::uint32_t pack) const;

 private:
  struct Writer;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lucid::store
