#include "lib/store/packs.hpp"

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <unordered_map>

#include <fmt/format.h>

#include "lib/crypto/hash.hpp"
#include "lib/store/pack_walk.hpp"

namespace lucid::store {

// The open end of a session. Everything below `durable` is synced; [durable, end) is written by appends still waiting
// for their sync; anything behind `end` in the file is a failed write and goes before the next one.
struct Packs::Writer {
  std::mutex mutex;
  std::condition_variable changed;
  bool opened = false, closed = false;
  bool syncing = false;  // one thread syncs for all
  bool cut_needed = false;
  std::uint32_t pack = 0;
  std::uint64_t end = 0, durable = 0;
  std::uint64_t rollbacks = 0;  // failed syncs: everything then waiting was given up
  std::optional<Error> last_error;
  File file;
  std::string path;
};

struct Packs::State {
  std::string directory;
  FileOps& files;
  ChunkLength chunk_length;
  std::size_t header_bytes;
  std::uint64_t pack_size;
  std::mutex mutex;  // the table only
  std::unordered_map<Id, std::shared_ptr<Writer>> writers;

  State(std::string where, FileOps& ops, ChunkLength length_of, std::size_t header, std::uint64_t limit)
      : directory(std::move(where)), files(ops), chunk_length(std::move(length_of)), header_bytes(header), pack_size(limit) {}
  std::string directory_of(const Id& session) const { return directory + "/" + session.text(); }

  std::shared_ptr<Writer> writer(const Id& session) {
    std::lock_guard lock(mutex);
    auto& slot = writers[session];
    if (!slot) slot = std::make_shared<Writer>();
    return slot;
  }

  // All below run with the writer's mutex held.
  void open_pack(Writer& w, const std::string& session_directory, std::uint32_t pack) {
    w.path = fmt::format("{}/{:08}.pack", session_directory, pack);
    w.file = files.open(w.path, OpenMode::append);
    files.sync_directory(session_directory);  // the name as durable as the bytes will be
    w.pack = pack;
  }

  void open_writer(Writer& w, const Packs& packs, const Id& session, const PackEnd& known, const Each& each);
  void rotate(Writer& w, std::unique_lock<std::mutex>& lock, const Id& session);
  void cut(Writer& w);
  void sync_up_to(Writer& w, std::unique_lock<std::mutex>& lock, std::uint64_t target);
};

void Packs::State::open_writer(Writer& w, const Packs& packs, const Id& session, const PackEnd& known, const Each& each) {
  std::string session_directory = directory_of(session);
  files.make_directories(session_directory);
  files.sync_directory(directory);  // it may be there from a run that died before this sync
  std::vector<std::uint32_t> there = packs.list(session);
  bool fresh = there.empty() || there.back() < known.pack;  // the pack the index speaks of is not there
  std::uint32_t last = fresh ? known.pack + (known.offset > 0 ? 1 : 0) : there.back();
  open_pack(w, session_directory, last);
  files.sync_data(w.file, w.path);  // bytes a killed process left in the page cache
  std::uint64_t size = files.size(w.file, w.path);
  if (!fresh && last == known.pack && size < known.offset) {
    open_pack(w, session_directory, last + 1);  // a shortened pack: its lost range stays empty
    w.end = 0;
    size = files.size(w.file, w.path);
    fresh = true;
  }
  w.end = 0;
  if (!fresh) {
    for (std::uint32_t pack : there) {
      if (pack < known.pack) continue;
      PackWalk walk = packs.walk(session, pack, pack == known.pack ? known.offset : 0, UINT64_MAX, each);
      if (pack == last) w.end = walk.end;
    }
  }
  w.durable = w.end;
  w.cut_needed = size > w.end;
  if (w.cut_needed) {
    cut(w);
    files.sync_data(w.file, w.path);
  }
  w.opened = true;
}

void Packs::State::cut(Writer& w) {
  files.truncate(w.file, w.end, w.path);
  w.cut_needed = false;
}

// One step towards the next pack: the present one must be durable to its end and nobody may be syncing it. May let go
// of the lock, so the caller looks again whether it still wants to.
void Packs::State::rotate(Writer& w, std::unique_lock<std::mutex>& lock, const Id& session) {
  if (w.syncing) return w.changed.wait(lock);
  if (w.durable < w.end) return sync_up_to(w, lock, w.end);
  File before = std::move(w.file);
  std::string before_path = w.path;
  try {
    open_pack(w, directory_of(session), w.pack + 1);
  } catch (...) {
    w.file = std::move(before);
    w.path = before_path;
    throw;
  }
  w.end = w.durable = 0;
  // A file of that name can be left over only from a rotation that failed halfway.
  w.cut_needed = files.size(w.file, w.path) > 0;
}

// Returns when everything below `target` is durable; throws when it was given up.
void Packs::State::sync_up_to(Writer& w, std::unique_lock<std::mutex>& lock, std::uint64_t target) {
  std::uint64_t rollbacks = w.rollbacks;
  std::uint32_t pack = w.pack;
  while (true) {
    if (w.rollbacks != rollbacks) throw *w.last_error;
    if (w.pack != pack || w.durable >= target) return;
    if (w.syncing) {
      w.changed.wait(lock);
      continue;
    }
    w.syncing = true;
    std::uint64_t reach = w.end;
    lock.unlock();
    std::optional<Error> failed;
    try {
      files.sync_data(w.file, w.path);
    } catch (const Error& error) { failed = error; }
    lock.lock();
    w.syncing = false;
    if (!failed) {
      w.durable = std::max(w.durable, reach);
    } else {
      // After a failed sync nobody knows which pages are on disk: everything not yet durable is given up.
      w.end = w.durable;
      w.cut_needed = true;
      ++w.rollbacks;
      w.last_error = failed;
    }
    w.changed.notify_all();
  }
}

Packs::Packs(std::string directory, FileOps& files, ChunkLength chunk_length, std::size_t header_bytes, std::uint64_t pack_size)
    : state_(std::make_unique<State>(std::move(directory), files, std::move(chunk_length), header_bytes, pack_size)) {
  files.make_directories(state_->directory);
}

Packs::~Packs() = default;

void Packs::open(const Id& session, const PackEnd& known, const Each& each) {
  std::shared_ptr<Writer> w = state_->writer(session);
  std::unique_lock lock(w->mutex);
  if (!w->opened) state_->open_writer(*w, *this, session, known, each);
}

PackLocation Packs::append(const Id& session, ByteView stored, const Hash32* blake3) {
  if (stored.size() < state_->header_bytes || stored.size() > UINT32_MAX)
    throw Error(ErrorKind::internal, fmt::format("append to pack of {}: {} bytes are no chunk", session.text(), stored.size()));
  Hash32 seal = blake3 != nullptr ? *blake3 : crypto::blake3(stored);
  std::uint64_t size = stored.size() + kPackSealSize;
  std::shared_ptr<Writer> w;
  std::unique_lock<std::mutex> lock;
  while (true) {
    if (lock) lock.unlock();
    w = state_->writer(session);
    lock = std::unique_lock(w->mutex);
    if (!w->closed && !w->opened) {
      std::vector<std::uint32_t> there = list(session);
      state_->open_writer(*w, *this, session, {there.empty() ? 0 : there.back(), 0}, [](const PackEntry&) {});
    }
    while (!w->closed && w->end > 0 && w->end + size > state_->pack_size) state_->rotate(*w, lock, session);
    if (!w->closed) break;  // else closed meanwhile: a new writer takes over
  }
  if (w->cut_needed) state_->cut(*w);
  PackLocation location{w->pack, w->end, static_cast<std::uint32_t>(stored.size())};
  try {
    state_->files.write(w->file, stored, w->path);
    state_->files.write(w->file, seal, w->path);
  } catch (const Error&) {
    w->cut_needed = true;
    try {
      state_->cut(*w);
    } catch (const Error&) {
      // It stays needed; the next append tries again first.
    }
    throw;
  }
  w->end += size;
  state_->sync_up_to(*w, lock, w->end);
  return location;
}

Bytes Packs::read(const Id& session, const PackLocation& location) const { return read_range(session, location, 0, location.length); }

Bytes Packs::read_range(const Id& session, const PackLocation& location, std::uint32_t from, std::uint32_t size) const {
  if (from > location.length || size > location.length - from)
    throw Error(ErrorKind::internal, fmt::format("read of pack of {}: range outside the chunk", session.text()));
  std::string file_path = path(session, location.pack);
  File file = state_->files.open(file_path, OpenMode::read);
  std::uint64_t there = state_->files.size(file, file_path);
  // Checked before anything is allocated: the location may come from a damaged index.
  if (location.offset > there || location.length > there - location.offset)
    throw Error(
        ErrorKind::corrupt, "pack_short",
        fmt::format("{} ends at {}, before the chunk at {} of {} bytes; run fsck", file_path, there, location.offset, location.length));
  Bytes bytes(size);
  if (state_->files.read_at(file, bytes, location.offset + from, file_path) != size)
    throw Error(ErrorKind::corrupt, "pack_short", fmt::format("{} became shorter while it was read", file_path));
  return bytes;
}

std::vector<std::uint32_t> Packs::list(const Id& session) const {
  std::vector<std::uint32_t> numbers;
  for (const std::string& name : state_->files.list(state_->directory_of(session))) {
    if (name.size() != 13 || !name.ends_with(".pack")) continue;
    if (!std::all_of(name.begin(), name.begin() + 8, [](char c) { return c >= '0' && c <= '9'; })) continue;
    numbers.push_back(static_cast<std::uint32_t>(std::stoul(name.substr(0, 8))));
  }
  return numbers;
}

std::vector<Id> Packs::sessions() const {
  std::vector<Id> ids;
  for (const std::string& name : state_->files.list(state_->directory)) {
    std::optional<Id> id = Id::parse(name);
    if (id && id->text() == name) ids.push_back(*id);
  }
  return ids;
}

std::uint64_t Packs::scan(const Id& session, std::uint32_t pack,
                          const std::function<void(const PackLocation&, ByteView stored)>& each) const {
  std::string file_path = path(session, pack);
  File file = state_->files.open(file_path, OpenMode::read);
  return walk_pack({state_->files, file, file_path, state_->chunk_length, state_->header_bytes, pack, 0, UINT64_MAX, OnBadBytes::stop},
                   [&](const PackEntry& entry) { each(entry.location, entry.stored); })
      .end;
}

PackWalk Packs::walk(const Id& session, std::uint32_t pack, std::uint64_t from, std::uint64_t to, const Each& each) const {
  std::string file_path = path(session, pack);
  File file = state_->files.open(file_path, OpenMode::read);
  return walk_pack({state_->files, file, file_path, state_->chunk_length, state_->header_bytes, pack, from, to, OnBadBytes::step_over},
                   each);
}

void Packs::close(const Id& session) {
  std::shared_ptr<Writer> w;
  {
    std::lock_guard lock(state_->mutex);
    auto found = state_->writers.find(session);
    if (found == state_->writers.end()) return;
    w = found->second;
  }
  std::unique_lock lock(w->mutex);
  w->changed.wait(lock, [&] { return !w->syncing && w->durable == w->end; });
  w->closed = true;
  w->file.close();
  w->changed.notify_all();
  // Only now may the next append find no writer and open one: a session never has two.
  std::lock_guard table(state_->mutex);
  auto found = state_->writers.find(session);
  if (found != state_->writers.end() && found->second == w) state_->writers.erase(found);
}

void Packs::remove(const Id& session) {
  close(session);
  state_->files.remove_tree(state_->directory_of(session));
  state_->files.sync_directory(state_->directory);
}

std::string Packs::path(const Id& session, std::uint32_t pack) const {
  return fmt::format("{}/{:08}.pack", state_->directory_of(session), pack);
}

}  // namespace lucid::store
