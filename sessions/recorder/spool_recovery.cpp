#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "sessions/recorder/spool.hpp"
#include "sessions/recorder/spool_file.hpp"

namespace lucid::recorder {
namespace {

constexpr std::size_t kLargestBatch = recording::kMaxBatchBytes + recording::kBatchHeaderSize + crypto::kNonceSize + crypto::kTagSize;

// Reads a file front to back through a sliding window; a batch is seen whole.
class Window {
 public:
  Window(FileOps& files, const File& file, const std::string& path) : files_(files), file_(file), path_(path) {}
  // At least `n` bytes from `offset` on and all that is at hand after them; fewer only at the end of the file.
  ByteView at(std::uint64_t offset, std::size_t n) {
    if (offset < start_ || offset + n > start_ + buffer_.size()) {
      buffer_.resize(std::max<std::size_t>(n, kStep));
      buffer_.resize(files_.read_at(file_, buffer_, offset, path_));
      start_ = offset;
    }
    return ByteView(buffer_).subspan(offset - start_);
  }

  static constexpr std::size_t kStep = 4 << 20;

 private:
  FileOps& files_;
  const File& file_;
  const std::string& path_;
  Bytes buffer_;
  std::uint64_t start_ = 0;
};

}  // namespace

void Spool::scan(const std::string& name, std::vector<SegmentPtr>& out) {
  auto file = std::make_shared<SpoolFile>();
  file->path = config_.directory + "/" + name;
  file->file = files_.open(file->path, OpenMode::read);
  std::uint64_t size = files_.size(file->file, file->path);
  Window window(files_, file->file, file->path);
  ByteView head = window.at(0, recording::kSpoolHeaderSize);
  if (head.size() < recording::kSpoolHeaderSize) {
    log_.warn("spool file without a whole header removed: nothing was in it", {{"path", file->path}});
    files_.remove(file->path);
    return;
  }
  if (auto header = recording::parse_spool_header(head); !header) {
    // Left where it is: a newer program may have written it, or it is damaged evidence.
    log_.error("spool file not readable and left alone", {{"path", file->path}, {"reason", header.error().what()}});
    return;
  }
  file->header.assign(head.begin(), head.begin() + recording::kSpoolHeaderSize);
  std::map<std::pair<Id, std::uint64_t>, SegmentPtr> segments;
  std::uint64_t at = recording::kSpoolHeaderSize;
  std::string torn;
  while (at < size) {
    // A batch is judged whole: when the window ends within it, look again with a larger one.
    auto header = recording::parse_batch_header(window.at(at, recording::kBatchHeaderSize));
    if (!header) header = recording::parse_batch_header(window.at(at, std::min<std::uint64_t>(size - at, Window::kStep)));
    if (!header) header = recording::parse_batch_header(window.at(at, std::min<std::uint64_t>(size - at, kLargestBatch)));
    if (!header) {
      torn = header.error().what();
      break;
    }
    SegmentPtr& segment = segments[{header->session, header->sequence}];
    if (!segment) {
      segment = std::make_shared<Segment>();
      segment->session = header->session;
      segment->sequence = header->sequence;
      segment->file = file;
      segment->recovered = true;
      segment->first_ms = header->first_ms;
      segment->last_ms = header->last_ms;
    }
    std::uint64_t total = recording::batch_size(*header);
    // Index 0 again: a start that failed left its first batches behind, and this is the one that succeeded.
    if (header->index == 0 && !segment->pieces.empty()) {
      segment->pieces.clear();
      segment->closed = false;
      segment->flags = 0;
      segment->first_ms = header->first_ms;
      segment->last_ms = header->last_ms;
    }
    if (header->index == segment->pieces.size() && !segment->closed) {
      segment->pieces.push_back({at, static_cast<std::uint32_t>(total), {}});
      segment->fencing_token = header->fencing_token;
      segment->first_ms = std::min(segment->first_ms, header->first_ms);
      segment->last_ms = std::max(segment->last_ms, header->last_ms);
      segment->flags |= header->flags;
      segment->closed = header->last;
    } else {
      log_.error("a batch out of its order in the spool is ignored", {{"session_id", header->session.text()},
                                                                      {"sequence", std::to_string(header->sequence)},
                                                                      {"index", std::to_string(header->index)}});
    }
    at += total;
  }
  file->size = size;  // synced stays 0: nobody knows whether the writer came to it
  file->name_durable = false;
  if (!torn.empty())
    log_.warn("the end of a spool file was cut by a crash and is ignored",
              {{"path", file->path}, {"bytes", std::to_string(size - at)}, {"reason", torn}});
  Lock lock(mutex_);
  file->number = next_number_++;
  for (auto& [key, segment] : segments) {
    if (segment->pieces.empty()) continue;
    ++file->segments;
    out.push_back(segment);
  }
  // A file without segments goes too, with the next removal.
  all_.push_back(file);
  removal_due_ = removal_due_ || file->segments == 0;
}

std::vector<SegmentPtr> Spool::recover() {
  std::vector<SegmentPtr> found;
  for (const std::string& name : files_.list(config_.directory)) {
    if (!name.ends_with(".spool")) continue;
    try {
      scan(name, found);
    } catch (const Error& e) {
      log_.error("spool file could not be read and is left alone", {{"path", config_.directory + "/" + name}, {"reason", e.what()}});
    }
  }
  std::sort(found.begin(), found.end(), [](const SegmentPtr& a, const SegmentPtr& b) {
    return std::pair(a->session, a->sequence) < std::pair(b->session, b->sequence);
  });
  Lock lock(mutex_);
  wake_.notify_all();
  return found;
}

}  // namespace lucid::recorder
