// Cuts one session's records into batches and segments and puts them into the spool: a batch at once when the last one is
// 200 ms old, else when it is, or at 256 KiB; a segment after 1 s when it holds 16 KiB or more, else after 5 s, at 1 MiB at the latest
// (one frame stays whole up to 8 MiB). Nothing while nothing is added. Each batch begins with a version
// record, so every segment decodes on its own, given the picture before it. Owned by one thread, the session's capture
// thread; what it handed to the spool survives that thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "lib/recording/records.hpp"
#include "sessions/recorder/spool.hpp"

namespace lucid::recorder {

struct SegmentLimits {
  std::size_t batch_bytes = 256 << 10;
  std::int64_t batch_ms = 200;
  std::size_t early_bytes = 16 << 10;
  std::int64_t early_ms = 1'000, late_ms = 5'000;
  std::size_t segment_bytes = 1 << 20;
  std::size_t frame_bytes = 8 << 20;
};

class SegmentBuilder {
 public:
  // `closed` gets every closed segment, in order.
  SegmentBuilder(Spool& spool, const Id& session, std::uint64_t next_sequence, std::uint64_t fencing_token,
                 std::function<void(const SegmentPtr&)> closed, SegmentLimits limits = {});
  ~SegmentBuilder() { discard(); }
  SegmentBuilder(const SegmentBuilder&) = delete;

  // `now`: Clock::steady_ms(). The records' own times are session milliseconds.
  void add(const recording::Record& record, std::int64_t now);
  void add_stream(ByteView records, std::int64_t now);
  // Seals or closes what is due; when it wants to be called again (nullopt: nothing is open).
  void tick(std::int64_t now);
  std::optional<std::int64_t> next_deadline() const;
  // Everything added so far goes to the spool; with `close` as the end of its segment. False: no room, see blocked().
  bool flush();
  bool close();
  // The spool refused a batch, which is kept here. While blocked nothing should be added.
  bool blocked() const { return blocked_; }
  // Offers the kept batch again.
  bool retry();
  void set_fencing_token(std::uint64_t token) { token_ = token; }  // from the next segment on
  // Gives up the open segment and what is not sealed yet.
  void discard();

  std::uint64_t next_sequence() const { return sequence_; }  // of the next segment to be opened
  std::optional<std::int64_t> last_ms() const { return last_ms_; }
  bool open() const { return segment_ != nullptr || !batch_.empty(); }

 private:
  void append(ByteView bytes, const recording::Record& record, std::int64_t now);
  bool seal(bool last);

  Spool& spool_;
  Id session_;
  std::uint64_t sequence_, token_;
  std::function<void(const SegmentPtr&)> closed_;
  SegmentLimits limits_;
  SegmentPtr segment_;
  std::size_t segment_bytes_ = 0;
  std::int64_t segment_since_ = 0, batch_due_ = 0;
  Bytes batch_, scratch_;
  BatchInfo info_;
  std::optional<std::int64_t> last_ms_;
  bool blocked_ = false, close_after_ = false;
};

// The ChunkFlags a record stands for.
std::uint16_t flags_of(const recording::Record& record);

}  // namespace lucid::recorder
