#include "sessions/recorder/segment_builder.hpp"

#include <algorithm>

#include "lib/recording/chunk.hpp"

namespace lucid::recorder {

namespace rec = lucid::recording;

std::uint16_t flags_of(const rec::Record& record) {
  std::uint16_t flags = rec::is_event(record.payload) ? rec::kHasEvents : 0;
  if (const auto* keyframe = std::get_if<rec::Keyframe>(&record.payload))
    flags |= keyframe->kind == rec::KeyframeKind::full ? rec::kHasFullKeyframe : rec::kHasDiffKeyframe;
  if (const auto* end = std::get_if<rec::FrameEnd>(&record.payload); end != nullptr && end->lossy) flags |= rec::kLossy;
  if (std::holds_alternative<rec::Gap>(record.payload)) flags |= rec::kGap;
  if (std::holds_alternative<rec::End>(record.payload)) flags |= rec::kEnd;
  return flags;
}

SegmentBuilder::SegmentBuilder(Spool& spool, const Id& session, std::uint64_t next_sequence, std::uint64_t fencing_token,
                               std::function<void(const SegmentPtr&)> closed, SegmentLimits limits)
    : spool_(spool), session_(session), sequence_(next_sequence), token_(fencing_token), closed_(std::move(closed)), limits_(limits) {}

void SegmentBuilder::discard() {
  if (segment_) spool_.release(*segment_);
  segment_.reset();
  batch_.clear();
  segment_bytes_ = 0;
  blocked_ = close_after_ = false;
}

void SegmentBuilder::add(const rec::Record& record, std::int64_t now) {
  Bytes one;
  rec::append(one, record);
  append(one, record, now);
  tick(now);
}

void SegmentBuilder::add_stream(ByteView records, std::int64_t now) {
  rec::RecordReader reader(records);
  std::size_t from = 0;
  for (;;) {
    auto record = reader.next();
    if (!record)
      throw Error(ErrorKind::internal, std::string("the frame encoder wrote records that cannot be read: ") + record.error().what());
    if (!*record) break;
    append(records.subspan(from, reader.position() - from), **record, now);
    from = reader.position();
  }
  tick(now);
}

// `bytes` is the record as encoded. The version record in front of a stream's first record is kept where it begins a batch only.
void SegmentBuilder::append(ByteView bytes, const rec::Record& record, std::int64_t now) {
  static const std::size_t kVersionSize = [] {
    Bytes one, two;
    rec::append(one, {0, rec::Pause{}});
    two = one;
    rec::append(two, {0, rec::Pause{}});
    return 2 * one.size() - two.size();  // the second record comes without one
  }();
  static const Bytes kVersion = [] {
    Bytes one;
    rec::append(one, {0, rec::Pause{}});
    one.resize(kVersionSize);
    return one;
  }();
  const bool versioned = bytes.size() >= kVersionSize && std::equal(kVersion.begin(), kVersion.end(), bytes.begin());
  if (batch_.empty()) {
    info_ = {0, record.ms, record.ms, false};
    if (!segment_ && !blocked_) segment_since_ = now;
    if (!versioned) batch_ = kVersion;
  } else if (versioned) {
    bytes = bytes.subspan(kVersionSize);
  }
  batch_.insert(batch_.end(), bytes.begin(), bytes.end());
  info_.flags |= flags_of(record);
  info_.first_ms = std::min(info_.first_ms, record.ms);
  info_.last_ms = std::max(info_.last_ms, record.ms);
  last_ms_ = std::max(last_ms_.value_or(record.ms), record.ms);
  // A frame larger than a segment may hold is spread over several.
  if (!blocked_ && segment_bytes_ + batch_.size() >= limits_.frame_bytes) close();
}

void SegmentBuilder::tick(std::int64_t now) {
  if (blocked_ || !open()) return;
  const std::size_t bytes = segment_bytes_ + batch_.size();
  const std::int64_t age = now - segment_since_;
  if (bytes >= limits_.segment_bytes || age >= limits_.late_ms || (bytes >= limits_.early_bytes && age >= limits_.early_ms)) {
    close();
  } else if (!batch_.empty() && (batch_.size() >= limits_.batch_bytes || now >= batch_due_)) {
    flush();
  } else {
    return;
  }
  batch_due_ = now + limits_.batch_ms;
}

std::optional<std::int64_t> SegmentBuilder::next_deadline() const {
  if (blocked_ || !open()) return std::nullopt;
  const bool early = segment_bytes_ + batch_.size() >= limits_.early_bytes;
  std::int64_t at = segment_since_ + (early ? limits_.early_ms : limits_.late_ms);
  return batch_.empty() ? at : std::min(at, batch_due_);
}

bool SegmentBuilder::flush() { return batch_.empty() || seal(false); }

bool SegmentBuilder::close() {
  if (!open()) return true;
  return seal(true);
}

bool SegmentBuilder::seal(bool last) {
  if (!segment_) segment_ = spool_.open_segment(session_, sequence_++, token_);
  BatchInfo info = info_;
  info.last = last;
  // Everything was sealed already: the closing batch is empty and repeats the segment's time.
  if (batch_.empty()) info = {0, segment_->last_ms, segment_->last_ms, true};
  if (!spool_.append(segment_, info, batch_)) {
    blocked_ = true;
    close_after_ = close_after_ || last;
    return false;
  }
  blocked_ = false;
  segment_bytes_ += batch_.size();
  batch_.clear();
  if (batch_.capacity() > limits_.segment_bytes) batch_.shrink_to_fit();
  if (last) {
    segment_bytes_ = 0;
    close_after_ = false;
    SegmentPtr done = std::move(segment_);
    segment_.reset();
    closed_(done);
  }
  return true;
}

bool SegmentBuilder::retry() { return !blocked_ || seal(close_after_); }

}  // namespace lucid::recorder
