// For tests of session-storage: a Storage on a directory of its own, really sealed chunks, and verbs to damage its files.
#pragma once

#include <atomic>

#include "lib/base/file_ops.hpp"
#include "lib/crypto/hash.hpp"
#include "lib/crypto/signature.hpp"
#include "lib/recording/chunk.hpp"
#include "lib/recording/manifest.hpp"
#include "sessions/storage/index.hpp"
#include "sessions/storage/storage.hpp"

namespace lucid::storage::test {

// A chunk as the processor seals it; the same arguments give the same bytes.
inline Bytes chunk_of(const Id& session, std::uint64_t sequence, std::size_t size = 500, std::uint16_t flags = 0, std::uint64_t salt = 0) {
  SeededRandom random(sequence * 1000 + salt + 1);
  Bytes plain(size);
  random.fill(plain);
  auto first = static_cast<std::int64_t>(sequence * 1000);
  recording::SegmentInfo info{
      .session = session, .sequence = sequence, .key_epoch = 0, .first_ms = first, .last_ms = first + 999, .flags = flags};
  return recording::ChunkSealer().seal(info, plain, crypto::Secret32{}, random).stored;
}

inline std::string manifest_of(const Id& session) {
  SeededRandom random(5);
  recording::Manifest manifest;
  manifest.session = session;
  manifest.node = "test";
  manifest.checkpoint_key = crypto::SigningKey::make(random).verify_key().text();
  return recording::to_json_text(manifest);
}

struct Harness {
  TempDir dir;
  ManualClock clock;
  SeededRandom random{11};
  runtime::Metrics metrics;
  std::atomic<std::uint64_t> free{1ull << 40};
  Config config;
  std::unique_ptr<store::Documents> documents;
  std::unique_ptr<Storage> storage;
  Id session = Id::make(clock, random);

  Harness() {
    config.directory = directory_in(dir.path());
    config.pack_bytes = 8'000;
  }
  void start(FileOps& files = system_files()) {
    stop();
    files.make_directories(config.directory);
    documents = store::open_sqlite_documents(database_in(config.directory));
    storage =
        std::make_unique<Storage>(config, Parts{files, clock, metrics, *documents, [this](const std::string&) { return free.load(); }});
  }
  void stop() {
    storage.reset();
    documents.reset();
  }
  Id new_session() {
    clock.advance(1);
    return Id::make(clock, random);
  }
  contracts::StorageClient::Put put(std::uint64_t sequence, std::size_t size = 500, std::uint16_t flags = 0) {
    return storage->put_chunk(session, sequence, chunk_of(session, sequence, size, flags));
  }
  std::string pack_path(std::uint32_t pack) const {
    return packs_in(config.directory) + "/" + session.text() + "/" + "0000000" + std::to_string(pack) + ".pack";
  }
  void flip(const std::string& path, std::uint64_t at) {
    Bytes bytes = system_files().read_file(path);
    bytes.at(at) ^= 0x10;
    system_files().replace_file(path, bytes);
  }
  void cut(const std::string& path, std::uint64_t size) {
    File file = system_files().open(path, OpenMode::append);
    system_files().truncate(file, size, path);
  }
  void extend(const std::string& path, ByteView bytes) {
    File file = system_files().open(path, OpenMode::append);
    system_files().write(file, bytes, path);
  }
};

}  // namespace lucid::storage::test
