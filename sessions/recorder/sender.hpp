// Brings closed segments to the chunk-processor: per session strictly in order and one at a time, sessions side by side
// on a few threads. A segment is read back from the spool (and memory, when the disk is full), made durable, posted, and
// released once the processor says it is committed. Away or full processors are tried again after 50 ms, doubling to 1 s,
// for ever: nothing is given up for lack of an answer.
//
//   409 lease_lost, 404       the session is not ours any more: its segments are released and `lost` is called
//   409 out_of_order          goes on from the sequence expected; one we do not have is replaced by a gap segment
//   segment_altered and such  (the segment is damaged) it is replaced by a gap segment of the same sequence, and `hole`
//                             asks for a full keyframe, since later pictures build on what is missing
// Any thread; callbacks come from the sender's threads, without locks.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "lib/base/clock.hpp"
#include "lib/net/client.hpp"
#include "lib/runtime/log.hpp"
#include "sessions/recorder/spool.hpp"

namespace lucid::recorder {

struct SenderConfig {
  int threads = 2;
  std::chrono::milliseconds first_delay{50}, longest_delay{1'000};
  std::chrono::milliseconds timeout{15'000};
};

class Sender {
 public:
  struct Hooks {
    std::function<void(const Segment&)> committed;  // before it is released
    std::function<void(const Segment&)> released;   // after that
    std::function<void(const Id&, std::uint64_t fencing_token, const Error&)> lost;
    std::function<void(const Id&)> hole;
    // The processor holds other segments under the numbers we are giving out (our spool was lost): the session must go on
    // from `next`. Its queue is dropped already.
    std::function<void(const Id&, std::uint64_t next)> renumber;
    // Called before a segment goes out that is not on disk: must make durable that its sequence number is used. A throw
    // delays the segment.
    std::function<void(const Segment&)> before_sending_from_memory;
  };
  Sender(SenderConfig config, std::shared_ptr<net::Client> processor, Spool& spool, runtime::Log log, Hooks hooks);
  ~Sender();  // a call under way is finished first; the rest stays in the spool

  void enqueue(const SegmentPtr& segment);
  // Gives up a session: queued segments are released, one under way is ignored.
  void drop(const Id& session);
  std::size_t backlog(const Id& session) const;
  std::size_t backlog() const;
  // How long the oldest segment has been waiting since it was closed (recovered ones: since they were found), in ms.
  std::int64_t waiting_ms() const;
  // Waits until nothing is queued; false when `longest` has passed.
  bool wait_until_empty(std::chrono::milliseconds longest);

 private:
  using Time = std::chrono::steady_clock::time_point;
  struct Queued {
    SegmentPtr segment;
    Time since;
  };
  struct Queue {
    std::deque<Queued> segments;
    bool busy = false;
    Time not_before{};
    std::chrono::milliseconds delay{0};
  };
  struct Answer {
    enum class Kind { committed, retry, lost, expected, refused } kind = Kind::retry;
    std::uint64_t expected = 0;  // the sequence the processor takes next; 0: not told
    std::chrono::milliseconds wait{0};
    std::optional<Error> error;
  };
  void work();
  std::chrono::steady_clock::duration waited(const Id& session) const;
  void send_next(const Id& session, const SegmentPtr& segment);
  Answer post(const Segment& segment);
  Answer judge(const net::Response& response, const Segment& segment) const;
  void commit_up_to(const Id& session, std::uint64_t expected);
  void replace(const SegmentPtr& broken, const std::string& why);
  void fill(const Segment& head, std::uint64_t expected);
  void put_filler(const Segment& like, std::uint64_t sequence, std::uint16_t flags, const std::string& why, bool in_place);
  void pop(const SegmentPtr& segment);

  SenderConfig config_;
  std::shared_ptr<net::Client> processor_;
  Spool& spool_;
  runtime::Log log_;
  Hooks hooks_;
  mutable std::mutex mutex_;
  std::condition_variable wake_, empty_;
  std::map<Id, Queue> queues_;
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace lucid::recorder
