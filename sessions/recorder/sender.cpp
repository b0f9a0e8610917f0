#include "sessions/recorder/sender.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

#include "lib/recording/chunk.hpp"
#include "lib/recording/records.hpp"

namespace lucid::recorder {
namespace {

// More missing segments than this are not filled one by one: something else is wrong, and people must look.
constexpr std::uint64_t kMostFilled = 10'000;

// A recovered spool file whose key the processor cannot open is damaged, unless the processor's own key is not there yet:
// it gets this long.
constexpr std::chrono::seconds kKeyPatience{60};

// What the processor says of a segment that will never be taken. Anything else may be mended there, and is tried again.
constexpr std::array<std::string_view, 5> kDamaged{"segment_altered", "segment_cut", "torn_batch", "malformed", "too_large"};

std::optional<std::uint64_t> member(const net::Response& response, std::string_view key) {
  auto parsed = parse_json(as_text(response.body));
  if (!parsed || !parsed->is_object()) return std::nullopt;
  const json::value* v = parsed->get_object().if_contains(key);
  if (v == nullptr) return std::nullopt;
  if (v->is_uint64()) return v->get_uint64();
  if (v->is_int64() && v->get_int64() >= 0) return static_cast<std::uint64_t>(v->get_int64());
  return std::nullopt;
}

// The sequence an out_of_order answer names: its member `expected`, or a field error of that name.
std::optional<std::uint64_t> expected_of(const net::Response& response, const Error& error) {
  if (auto n = member(response, "expected")) return n;
  for (const FieldError& field : error.fields()) {
    std::uint64_t n = 0;
    const char* end = field.reason.data() + field.reason.size();
    if (field.pointer == "/expected" && std::from_chars(field.reason.data(), end, n).ptr == end) return n;
  }
  return std::nullopt;
}

}  // namespace

Sender::Sender(SenderConfig config, std::shared_ptr<net::Client> processor, Spool& spool, runtime::Log log, Hooks hooks)
    : config_(config), processor_(std::move(processor)), spool_(spool), log_(std::move(log)), hooks_(std::move(hooks)) {
  for (int i = 0; i < config_.threads; ++i) threads_.emplace_back([this] { work(); });
}

Sender::~Sender() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Sender::enqueue(const SegmentPtr& segment) {
  std::lock_guard lock(mutex_);
  queues_[segment->session].segments.push_back({segment, std::chrono::steady_clock::now()});
  wake_.notify_one();
}

void Sender::drop(const Id& session) {
  std::deque<Queued> gone;
  {
    std::lock_guard lock(mutex_);
    auto at = queues_.find(session);
    if (at == queues_.end()) return;
    gone.swap(at->second.segments);
    if (!at->second.busy) queues_.erase(at);
    empty_.notify_all();
  }
  for (Queued& queued : gone) spool_.release(*queued.segment);
}

std::size_t Sender::backlog(const Id& session) const {
  std::lock_guard lock(mutex_);
  auto at = queues_.find(session);
  return at == queues_.end() ? 0 : at->second.segments.size();
}

std::size_t Sender::backlog() const {
  std::lock_guard lock(mutex_);
  std::size_t sum = 0;
  for (const auto& [id, queue] : queues_) sum += queue.segments.size();
  return sum;
}

std::int64_t Sender::waiting_ms() const {
  std::lock_guard lock(mutex_);
  Time now = std::chrono::steady_clock::now(), oldest = now;
  for (const auto& [id, queue] : queues_)
    if (!queue.segments.empty()) oldest = std::min(oldest, queue.segments.front().since);
  return std::chrono::duration_cast<std::chrono::milliseconds>(now - oldest).count();
}

bool Sender::wait_until_empty(std::chrono::milliseconds longest) {
  std::unique_lock lock(mutex_);
  return empty_.wait_for(lock, longest, [&] {
    return std::all_of(queues_.begin(), queues_.end(),
                       [](const auto& entry) { return entry.second.segments.empty() && !entry.second.busy; });
  });
}

void Sender::work() {
  std::unique_lock lock(mutex_);
  while (!stop_) {
    Time now = std::chrono::steady_clock::now(), next = Time::max();
    auto ready = queues_.end();
    for (auto at = queues_.begin(); at != queues_.end(); ++at) {
      const Queue& queue = at->second;
      if (queue.busy || queue.segments.empty()) continue;
      // The one that has waited longest goes first, so that one busy session does not starve the others.
      if (queue.not_before <= now && (ready == queues_.end() || queue.segments.front().since < ready->second.segments.front().since))
        ready = at;
      next = std::min(next, queue.not_before);
    }
    if (ready == queues_.end()) {
      if (next == Time::max())
        wake_.wait(lock);
      else
        wake_.wait_until(lock, next);
      continue;
    }
    Id session = ready->first;
    SegmentPtr segment = ready->second.segments.front().segment;
    ready->second.busy = true;
    lock.unlock();
    send_next(session, segment);
    lock.lock();
    auto at = queues_.find(session);
    at->second.busy = false;
    if (at->second.segments.empty()) {
      queues_.erase(at);
      empty_.notify_all();
    } else {
      wake_.notify_one();
    }
  }
}

// How long the head of the session's queue has been there.
std::chrono::steady_clock::duration Sender::waited(const Id& session) const {
  std::lock_guard lock(mutex_);
  auto at = queues_.find(session);
  if (at == queues_.end() || at->second.segments.empty()) return {};
  return std::chrono::steady_clock::now() - at->second.segments.front().since;
}

void Sender::send_next(const Id& session, const SegmentPtr& segment) {
  Answer answer = post(*segment);
  switch (answer.kind) {
    case Answer::Kind::committed:
      // What we recorded ourselves cannot have been there before: with one under way the tree ends with it.
      if (segment->recovered || answer.expected <= segment->sequence + 1) return pop(segment);
      log_.error(
          "the processor has other segments under these numbers; the recording goes on behind them",
          {{"session_id", session.text()}, {"sequence", std::to_string(segment->sequence)}, {"next", std::to_string(answer.expected)}});
      drop(session);
      if (hooks_.renumber) hooks_.renumber(session, answer.expected);
      return;
    case Answer::Kind::lost:
      log_.error("the recording was taken from this recorder; what it holds is dropped",
                 {{"session_id", session.text()}, {"sequence", std::to_string(segment->sequence)}, {"reason", answer.error->what()}});
      drop(session);
      if (hooks_.lost) hooks_.lost(session, segment->fencing_token, *answer.error);
      return;
    case Answer::Kind::expected:
      if (answer.expected > segment->sequence) return commit_up_to(session, answer.expected);
      if (answer.expected < segment->sequence && segment->sequence - answer.expected <= kMostFilled) return fill(*segment, answer.expected);
      break;
    case Answer::Kind::refused:
      if (!segment->filler) return replace(segment, answer.error->what());
      break;
    case Answer::Kind::retry:
      if (segment->recovered && !segment->filler && answer.error && answer.error->code() == "spool_key" && waited(session) > kKeyPatience)
        return replace(segment, answer.error->what());
      break;
  }
  std::lock_guard lock(mutex_);
  Queue& queue = queues_[session];
  const bool first_slow = queue.delay < config_.longest_delay;
  queue.delay = queue.delay.count() == 0 ? config_.first_delay : std::min(queue.delay * 2, config_.longest_delay);
  auto wait = std::max(queue.delay, std::min(answer.wait, config_.longest_delay));
  queue.not_before = std::chrono::steady_clock::now() + wait;
  if (first_slow && queue.delay == config_.longest_delay)
    log_.warn("segment not committed yet; trying again", {{"session_id", session.text()},
                                                          {"sequence", std::to_string(segment->sequence)},
                                                          {"reason", answer.error ? answer.error->what() : "out of order"}});
}

Sender::Answer Sender::post(const Segment& segment) {
  try {
    if (spool_.in_memory(segment) && hooks_.before_sending_from_memory) hooks_.before_sending_from_memory(segment);
    spool_.make_durable(segment);
  } catch (const Error& e) { return {Answer::Kind::retry, 0, {}, e}; }
  Bytes body;
  try {
    body = spool_.body(segment);
  } catch (const Error& e) {
    // Bytes that are gone will not come back; a disk that does not answer may.
    return {e.kind() == ErrorKind::corrupt ? Answer::Kind::refused : Answer::Kind::retry, 0, {}, e};
  }
  net::Call call;
  call.method = net::Method::post;
  call.target = "/api/v1/segments";
  call.content_type = "application/octet-stream";
  call.body = body;
  call.timeout = config_.timeout;
  if (!segment.closed) call.headers.set("X-Lucid-Final-Part", "crash");
  try {
    return judge(processor_->send(call), segment);
  } catch (const Error& e) { return {Answer::Kind::retry, 0, {}, e}; }
}

Sender::Answer Sender::judge(const net::Response& response, const Segment& segment) const {
  if (response.status >= 200 && response.status < 300)
    return {Answer::Kind::committed, member(response, "tree_size").value_or(0), {}, std::nullopt};
  Error error = net::error_from(response.status, response.headers, response.body, fmt::format("segment {}", segment.sequence));
  Answer answer{Answer::Kind::retry, 0, {}, error};
  if (error.retry_after()) answer.wait = *error.retry_after();
  if (error.code() == "lease_lost" || error.code() == "recording_not_found")
    answer.kind = Answer::Kind::lost;
  else if (error.code() == "out_of_order") {
    if (auto expected = expected_of(response, error)) {
      answer.kind = Answer::Kind::expected;
      answer.expected = *expected;
    }
  } else if (std::find(kDamaged.begin(), kDamaged.end(), error.code()) != kDamaged.end()) {
    answer.kind = Answer::Kind::refused;
  }
  return answer;
}

void Sender::pop(const SegmentPtr& segment) {
  if (hooks_.committed) hooks_.committed(*segment);
  {
    std::lock_guard lock(mutex_);
    Queue& queue = queues_[segment->session];
    // drop() may have emptied the queue meanwhile.
    if (!queue.segments.empty() && queue.segments.front().segment == segment) queue.segments.pop_front();
    queue.delay = {};
    queue.not_before = {};
  }
  spool_.release(*segment);
  if (hooks_.released) hooks_.released(*segment);
}

// The processor has everything before `expected`: an answer of ours was lost on its way.
void Sender::commit_up_to(const Id& session, std::uint64_t expected) {
  for (;;) {
    SegmentPtr head;
    {
      std::lock_guard lock(mutex_);
      Queue& queue = queues_[session];
      if (queue.segments.empty() || queue.segments.front().segment->sequence >= expected) return;
      head = queue.segments.front().segment;
    }
    pop(head);
  }
}

// Segment `like.sequence`, or one before it, says in its place that nothing is known of its time. With `in_place` it
// takes the head's position in the queue, else it goes in front.
void Sender::put_filler(const Segment& like, std::uint64_t sequence, std::uint16_t flags, const std::string& why, bool in_place) {
  Bytes records;
  recording::append(records, {like.last_ms, recording::Gap{like.first_ms, like.last_ms, recording::GapReason::spool_lost, why}});
  flags |= recording::kGap | recording::kHasEvents;
  if (flags & recording::kEnd) recording::append(records, {like.last_ms, recording::End{recording::EndReason::stopped}});
  SegmentPtr filler = spool_.open_segment(like.session, sequence, like.fencing_token);
  if (!spool_.append(filler, {flags, like.first_ms, like.last_ms, true}, records)) {
    spool_.release(*filler);
    throw Error(ErrorKind::storage_full, "a gap segment found no room in the spool");
  }
  filler->filler = true;
  {
    std::lock_guard lock(mutex_);
    auto& segments = queues_[like.session].segments;
    if (!segments.empty()) {  // empty: the session was dropped meanwhile
      if (in_place)
        segments.front().segment = filler;
      else
        segments.push_front({filler, segments.front().since});
      return;
    }
  }
  spool_.release(*filler);
}

void Sender::replace(const SegmentPtr& broken, const std::string& why) {
  log_.error("a segment was refused for good; a gap takes its place",
             {{"session_id", broken->session.text()}, {"sequence", std::to_string(broken->sequence)}, {"reason", why}});
  {
    std::lock_guard lock(mutex_);
    queues_[broken->session].not_before = std::chrono::steady_clock::now() + config_.first_delay;
  }
  try {
    put_filler(*broken, broken->sequence, broken->flags & recording::kEnd, why, true);
  } catch (const Error&) {
    return;  // no room now: the same segment is tried and replaced again
  }
  spool_.release(*broken);
  if (hooks_.hole) hooks_.hole(broken->session);
}

void Sender::fill(const Segment& head, std::uint64_t expected) {
  log_.error("segments are missing from the spool; gaps take their places",
             {{"session_id", head.session.text()}, {"from", std::to_string(expected)}, {"to", std::to_string(head.sequence - 1)}});
  Segment at_head;
  at_head.session = head.session;
  at_head.fencing_token = head.fencing_token;
  at_head.first_ms = at_head.last_ms = head.first_ms;
  try {
    for (std::uint64_t sequence = head.sequence; sequence-- > expected;)
      put_filler(at_head, sequence, 0, "the spool no longer had this segment", false);
  } catch (const Error&) {
    return;  // the rest is asked for again
  }
  if (hooks_.hole) hooks_.hole(head.session);
}

}  // namespace lucid::recorder
