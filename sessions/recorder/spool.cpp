#include "sessions/recorder/spool.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "sessions/recorder/spool_file.hpp"

namespace lucid::recorder {

using recording::kSpoolHeaderSize;

Spool::Spool(SpoolConfig config, FileOps& files, RandomSource& random, crypto::BoxPublicKey processor, runtime::Log log, Hooks hooks)
    : config_(std::move(config)), files_(files), random_(random), processor_(processor), log_(std::move(log)), hooks_(std::move(hooks)) {
  files_.make_directories(config_.directory);
  worker_ = std::thread([this] { work(); });
}

Spool::~Spool() {
  {
    Lock lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  worker_.join();
  for (auto& file : all_) {
    try {
      sync(file);
    } catch (const Error& e) { log_.warn("spool file not synced at the end", {{"path", file->path}, {"reason", e.what()}}); }
  }
}

std::shared_ptr<SpoolFile> Spool::current_file() {
  if (current_ && current_->size >= config_.rotate_bytes) {
    removal_due_ = true;  // all of its segments may be released already
    current_.reset();
  }
  if (!current_) {
    auto file = std::make_shared<SpoolFile>();
    file->number = next_number_++;
    Id name(SystemRandom().array<16>());
    file->path = config_.directory + "/" + name.text() + ".spool";
    file->sealer.emplace(processor_, random_);
    file->header = file->sealer->header();
    all_.push_back(file);
    current_ = std::move(file);
  }
  return current_;
}

SegmentPtr Spool::open_segment(const Id& session, std::uint64_t sequence, std::uint64_t fencing_token) {
  Lock lock(mutex_);
  auto segment = std::make_shared<Segment>();
  segment->session = session;
  segment->sequence = sequence;
  segment->fencing_token = fencing_token;
  segment->file = current_file();
  ++segment->file->segments;
  return segment;
}

// True when all of `bytes` is in the file. A failure leaves the file as it was, now or before the next write.
bool Spool::write(SpoolFile& file, ByteView bytes) {
  try {
    if (!file.file) {
      file.file = files_.open(file.path, OpenMode::append);
      file.name_durable = false;
    }
    if (file.torn) {
      files_.truncate(file.file, file.size, file.path);
      file.torn = false;
    }
    if (file.size == 0) {
      file.torn = true;
      files_.write(file.file, file.header, file.path);
      file.torn = false;
      file.size = file.header.size();
    }
    file.torn = true;
    files_.write(file.file, bytes, file.path);
    file.torn = false;
    file.size += bytes.size();
  } catch (const Error& e) {
    if (!failure_) log_.error("the spool cannot be written; batches stay in memory", {{"path", file.path}, {"reason", e.what()}});
    failure_ = e;
    if (file.file && file.torn) {
      try {
        files_.truncate(file.file, file.size, file.path);
        file.torn = false;
      } catch (const Error&) {
        // Tried again before the next write; recover() meets nothing but a torn tail until then.
      }
    }
    return false;
  }
  return true;
}

bool Spool::append(const SegmentPtr& target, const BatchInfo& info, ByteView records) {
  Segment& segment = *target;
  bool kept = true, changed = false, wake = false;
  {
    Lock lock(mutex_);
    SpoolFile& file = *segment.file;
    recording::BatchHeader header;
    header.session = segment.session;
    header.sequence = segment.sequence;
    header.index = static_cast<std::uint32_t>(segment.pieces.size());
    header.last = info.last;
    header.flags = info.flags;
    header.first_ms = info.first_ms;
    header.last_ms = info.last_ms;
    header.fencing_token = segment.fencing_token;
    Bytes sealed;
    file.sealer->seal(header, records, sealed);
    Segment::Piece piece;
    piece.size = static_cast<std::uint32_t>(sealed.size());
    // Once something waits in memory all later batches queue behind it: the file keeps the order of recording.
    if (pending_.empty() && write(file, sealed)) {
      piece.offset = file.size - sealed.size();
      wake = !dirty_;
      dirty_ = true;
    } else if (pending_bytes_ + sealed.size() <= config_.memory_limit) {
      wake = pending_.empty();
      pending_bytes_ += sealed.size();
      piece.memory = std::move(sealed);
      pending_.emplace_back(target, segment.pieces.size());
    } else {
      kept = false;
      changed = !full_.exchange(true);
    }
    if (kept) {
      segment.first_ms = segment.pieces.empty() ? info.first_ms : std::min(segment.first_ms, info.first_ms);
      segment.last_ms = segment.pieces.empty() ? info.last_ms : std::max(segment.last_ms, info.last_ms);
      segment.flags |= info.flags;
      segment.closed = info.last;
      segment.pieces.push_back(std::move(piece));
    }
  }
  if (wake || changed) wake_.notify_all();  // unlocked, or the thread would wake up only to wait again
  if (changed) tell_pressure();
  return kept;
}

void Spool::write_pending() {
  while (!pending_.empty()) {
    const auto& [segment, index] = pending_.front();
    Segment::Piece& piece = segment->pieces[index];
    if (!write(*segment->file, piece.memory)) return;
    piece.offset = segment->file->size - piece.size;
    pending_bytes_ -= piece.memory.size();
    piece.memory = Bytes();
    dirty_ = true;
    pending_.pop_front();
  }
  if (failure_) log_.info("the spool can be written again", {});
  failure_.reset();
}

void Spool::forget_pending(const Segment& segment) {
  std::erase_if(pending_, [&](const auto& entry) {
    if (entry.first.get() != &segment) return false;
    pending_bytes_ -= segment.pieces[entry.second].memory.size();
    return true;
  });
  if (pending_.empty()) failure_.reset();
}

// Room again only below half of the limit or with everything written: capture restarts with a full keyframe, which
// must not hit the limit at once.
bool Spool::update_pressure() {
  if (!full_ || (!pending_.empty() && pending_bytes_ > config_.memory_limit / 2)) return false;
  full_ = false;
  return true;
}

void Spool::tell_pressure() {
  if (hooks_.pressure) hooks_.pressure(full_);
}

void Spool::sync(const std::shared_ptr<SpoolFile>& file) {
  std::uint64_t size = 0;
  bool name_durable = true;
  {
    Lock lock(mutex_);
    if (!file->file || file->size == file->synced) return;
    size = file->size;
    name_durable = file->name_durable;
  }
  if (!name_durable) files_.sync_directory(config_.directory);
  files_.sync_data(file->file, file->path);
  Lock lock(mutex_);
  file->name_durable = true;
  file->synced = std::max(file->synced, size);
}

void Spool::make_durable(const Segment& segment) {
  {
    Lock lock(mutex_);
    std::uint64_t end = 0;
    for (const auto& piece : segment.pieces)
      if (piece.memory.empty()) end = std::max(end, piece.offset + piece.size);
    if (end <= segment.file->synced) return;
  }
  sync(segment.file);
}

Bytes Spool::body(const Segment& segment) {
  Bytes out;
  std::vector<std::pair<std::size_t, Segment::Piece>> on_disk;  // where in `out`, which piece
  std::shared_ptr<SpoolFile> file = segment.file;
  {
    Lock lock(mutex_);
    out = file->header;
    for (const auto& piece : segment.pieces) {
      if (piece.memory.empty()) {
        on_disk.emplace_back(out.size(), Segment::Piece{piece.offset, piece.size, {}});
        out.resize(out.size() + piece.size);
      } else {
        out.insert(out.end(), piece.memory.begin(), piece.memory.end());
      }
    }
  }
  for (const auto& [at, piece] : on_disk) {
    if (files_.read_at(file->file, std::span(out).subspan(at, piece.size), piece.offset, file->path) != piece.size)
      throw Error(ErrorKind::corrupt, "spool_cut",
                  fmt::format("{} ends before segment {} of session {}", file->path, segment.sequence, segment.session.text()));
  }
  return out;
}

bool Spool::in_memory(const Segment& segment) const {
  Lock lock(mutex_);
  return std::any_of(segment.pieces.begin(), segment.pieces.end(), [](const auto& piece) { return !piece.memory.empty(); });
}

void Spool::release(Segment& segment) {
  bool changed = false;
  {
    Lock lock(mutex_);
    if (segment.released) return;
    segment.released = true;
    forget_pending(segment);
    for (auto& piece : segment.pieces) piece.memory = Bytes();
    SpoolFile& file = *segment.file;
    --file.segments;
    if (file.segments == 0) {
      if (current_ && current_.get() == &file && file.size > config_.early_rotate_bytes) current_.reset();
      removal_due_ = true;
    }
    changed = update_pressure();
  }
  if (changed) tell_pressure();
  remove_finished_files();
}

void Spool::rotate_if_empty() {
  {
    Lock lock(mutex_);
    if (!current_ || current_->segments != 0 || !current_->file) return;
    current_.reset();
    removal_due_ = true;
  }
  remove_finished_files();
}

std::uint64_t Spool::oldest_file() const {
  Lock lock(mutex_);
  std::uint64_t oldest = next_number_;
  for (const auto& file : all_) oldest = std::min(oldest, file->number);
  return oldest;
}

std::uint64_t Spool::newest_file() const {
  Lock lock(mutex_);
  return next_number_ - 1;
}

void Spool::remove_finished_files() {
  std::unique_lock only_one(removal_mutex_, std::try_to_lock);
  if (!only_one) return;  // the worker comes back to it: removal_due_ stays set
  std::vector<std::shared_ptr<SpoolFile>> finished;
  {
    Lock lock(mutex_);
    if (!removal_due_) return;
    removal_due_ = false;
    for (auto& file : all_)
      if (file != current_ && file->segments == 0) finished.push_back(file);
  }
  if (finished.empty()) return;
  try {
    if (hooks_.before_remove) hooks_.before_remove();
    for (auto& file : finished) {
      files_.remove(file->path);
      Lock lock(mutex_);
      std::erase(all_, file);
    }
  } catch (const Error& e) {
    log_.warn("a finished spool file could not be removed; trying again", {{"reason", e.what()}});
    Lock lock(mutex_);
    removal_due_ = true;
    wake_.notify_all();
  }
}

// Asleep while nothing is dirty, pending or due for removal.
void Spool::work() {
  Lock lock(mutex_);
  while (!stop_) {
    wake_.wait(lock, [&] { return stop_ || dirty_ || removal_due_ || !pending_.empty() || full_; });
    if (stop_) return;
    wake_.wait_for(lock, (!pending_.empty() || full_) ? config_.retry_interval : config_.sync_interval, [&] { return stop_; });
    if (stop_) return;
    write_pending();
    bool changed = update_pressure();
    std::vector<std::shared_ptr<SpoolFile>> files;
    if (dirty_) files = all_;
    dirty_ = false;
    lock.unlock();
    if (changed) tell_pressure();
    for (auto& file : files) {
      try {
        sync(file);
      } catch (const Error& e) {
        log_.error("the spool could not be synced; trying again", {{"path", file->path}, {"reason", e.what()}});
        Lock again(mutex_);
        dirty_ = true;
      }
    }
    remove_finished_files();
    lock.lock();
  }
}

std::optional<std::string> Spool::problem() const {
  Lock lock(mutex_);
  if (!failure_) return std::nullopt;
  return fmt::format("{}; {} bytes wait in memory", failure_->what(), pending_bytes_);
}

std::optional<ErrorKind> Spool::problem_kind() const {
  Lock lock(mutex_);
  return failure_ ? std::optional(failure_->kind()) : std::nullopt;
}

std::uint64_t Spool::bytes() const {
  Lock lock(mutex_);
  std::uint64_t sum = 0;
  for (const auto& file : all_) sum += file->size;
  return sum;
}

std::uint64_t Spool::memory_bytes() const {
  Lock lock(mutex_);
  return pending_bytes_;
}

}  // namespace lucid::recorder
