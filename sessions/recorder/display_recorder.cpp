#include "sessions/recorder/display_recorder.hpp"

#include <algorithm>
#include <array>
#include <chrono>

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "sessions/recorder/convert.hpp"

namespace lucid::recorder {
namespace {

namespace rec = lucid::recording;
constexpr std::int64_t kOpenRetryMs = 100;
// More frames than one every 8 ms are never recorded (60 a second, and one per pause or resume), so a number of this
// kind is above all numbers given out before `ms`.
constexpr std::int64_t kLeastFrameMs = 8;

double seconds_since(std::chrono::steady_clock::time_point from) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - from).count();
}

// The parts of a whole-screen grab that `areas` name.
std::vector<PixelView> views_into(const desktop::GrabResult& whole, const std::vector<Rect>& areas) {
  std::vector<PixelView> views;
  for (const Rect& area : areas)
    for (const PixelView& view : whole.areas)
      if (Rect part = intersect(area, view.area); !part.empty())
        views.push_back(
            {part,
             view.pixels + static_cast<std::size_t>(part.y - view.area.y) * view.stride + static_cast<std::size_t>(part.x - view.area.x),
             view.stride});
  return views;
}

Error not_recording() { return Error(ErrorKind::conflict, "not_recording", "this recording is not being captured any more"); }
Error no_room() { return Error(ErrorKind::storage_full, "disk_full", "the recorder's disk is full: free space below DATA/recorder"); }

}  // namespace

DisplayRecorder::DisplayRecorder(CaptureJob job, Spool& spool, const Clock& clock, RecorderMetrics& metrics, runtime::Log log, Hooks hooks)
    : job_(std::move(job)),
      spool_(spool),
      clock_(clock),
      metrics_(metrics),
      log_(std::move(log)),
      hooks_(std::move(hooks)),
      builder_(spool, job_.plan.session, job_.next_sequence, job_.fencing_token,
               [this](const SegmentPtr& segment) {
                 metrics_.segments.add();
                 next_sequence_ = segment->sequence + 1;
                 hooks_.closed(segment);
               }),
      encoder_(to_encoder(job_.plan.options)),
      frame_interval_ms_(std::max<std::int64_t>(1000 / std::max(job_.plan.options.frame_rate, 1), kLeastFrameMs)),
      paused_(job_.paused),
      next_sequence_(job_.next_sequence),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!wake_) throw system_error("create", "eventfd", errno);
  thread_ = std::thread([this] { run(); });
}

DisplayRecorder::~DisplayRecorder() {
  post(Command::halt);
  thread_.join();
}

std::future<void> DisplayRecorder::post(Command command, std::uint64_t token) {
  std::future<void> done;
  {
    std::lock_guard lock(mutex_);
    Request request{command, token, {}};
    done = request.done.get_future();
    if (gone_) {
      request.done.set_exception(std::make_exception_ptr(not_recording()));
      return done;
    }
    requests_.push_back(std::move(request));
  }
  space_returned();
  return done;
}

void DisplayRecorder::begin_wait() { begun_.get_future().get(); }
void DisplayRecorder::pause() { post(Command::pause).get(); }
void DisplayRecorder::resume() { post(Command::resume).get(); }
void DisplayRecorder::stop() { post(Command::stop).get(); }
void DisplayRecorder::abandon() { post(Command::abandon); }
void DisplayRecorder::adopt(std::uint64_t fencing_token) { post(Command::adopt, fencing_token); }
void DisplayRecorder::renew_picture() { post(Command::renew); }

void DisplayRecorder::space_returned() {
  std::uint64_t one = 1;
  if (::write(wake_.fd(), &one, sizeof one) < 0 && errno != EAGAIN)
    log_.error("wake the capture thread failed", {{"errno", std::to_string(errno)}});
}

void DisplayRecorder::run() {
  ::pthread_setname_np(::pthread_self(), "capture");
  try {
    if (job_.only_end) {
      begun_told_ = true;
      begun_.set_value();
      if (job_.resumed) gap(job_.resumed->from_ms, job_.resumed->reason, job_.resumed->detail);
      finish(rec::EndReason::stopped, "stopped before a restart");
    } else if (open_display()) {
      start_capture();
      begun_told_ = true;
      begun_.set_value();
      hooks_.report("first_frame", job_.resumed ? "taken up again" : "");
    }
    while (!done_) step();
  } catch (const std::exception& e) {
    if (!begun_told_) {
      begun_.set_exception(std::current_exception());
    } else {
      log_.error("capture failed; the recording ends", {{"session_id", job_.plan.session.text()}, {"reason", e.what()}});
      try {
        display_.reset();
        finish(rec::EndReason::display_lost, e.what());
        while (!done_) step();
      } catch (const std::exception& again) {
        log_.error("no end record could be written", {{"session_id", job_.plan.session.text()}, {"reason", again.what()}});
      }
    }
  }
  display_.reset();
  std::deque<Request> left;
  {
    std::lock_guard lock(mutex_);
    gone_ = true;
    left.swap(requests_);
  }
  for (Request& request : left) request.done.set_exception(std::make_exception_ptr(not_recording()));
}

// False when the recording ended before a display was there. Throws when the display cannot be opened by a first start.
bool DisplayRecorder::open_display() {
  const std::int64_t until = now() + job_.open_for_ms;
  for (;;) {
    std::string reason;
    try {
      display_ = desktop::Display::open(to_desktop(job_.plan.target), to_desktop(job_.plan.options), clock_);
      return true;
    } catch (const Error& e) {
      if (job_.must_begin) throw;
      reason = e.what();
    }
    if (now() >= until) {
      begun_told_ = true;
      begun_.set_value();
      gap(job_.resumed->from_ms, job_.resumed->reason, job_.resumed->detail);
      finish(rec::EndReason::display_lost, reason);
      return false;
    }
    pollfd wake{wake_.fd(), POLLIN, 0};
    ::poll(&wake, 1, static_cast<int>(std::min(kOpenRetryMs, until - now())));
    woken_ = wake.revents != 0;
    if (handle_requests() || ending_) {
      begun_told_ = true;
      begun_.set_value();
      return false;
    }
  }
}

void DisplayRecorder::start_capture() {
  if (job_.resumed) {
    encoder_.set_next_frame_number(static_cast<std::uint32_t>(session_ms() / kLeastFrameMs + 1));
    if (!job_.paused) gap(job_.resumed->from_ms, job_.resumed->reason, job_.resumed->detail);
  }
  if (paused_) return;
  take_events(false);  // the windows and the cursor as they are belong to the first picture's segment, not to one of their own
  frame(now(), true);
  if (display_->lost())
    throw Error(ErrorKind::unavailable, "display_unavailable", "display " + job_.plan.target.display + " went away before its first frame");
  // Fail-closed: nobody is told that a recording runs whose first frame is not on disk.
  if (job_.must_begin && (!builder_.flush() || spool_.problem())) throw no_room();
}

void DisplayRecorder::step() {
  if (handle_requests() || done_) return;
  framed_ = false;
  check_room();
  if (done_) return;
  if (display_) {
    display_->process_events();
    take_events(false);
    if (display_->lost() && !ending_) {
      finish(rec::EndReason::display_lost, "the X server is gone");
      return;
    }
    if (!paused_ && !starved_ && !ending_) {
      std::int64_t at = now();
      if (frame_due(at)) frame(at, false);
    }
  }
  builder_.tick(now());
  if (builder_.blocked() && !starved_) check_room();
  if (!framed_) sleep();
}

// Frames, deferred tiles and deadlines of the libraries below; no timer when none of them is under way.
void DisplayRecorder::sleep() {
  std::optional<std::int64_t> wake_at = builder_.next_deadline();
  auto earlier = [&](std::int64_t at) { wake_at = wake_at ? std::min(*wake_at, at) : at; };
  std::vector<pollfd> fds{{wake_.fd(), POLLIN, 0}};
  if (display_) {
    for (int fd : display_->poll_fds()) fds.push_back({fd, POLLIN, 0});
    if (auto at = display_->next_deadline()) earlier(*at);
    if (!paused_ && !starved_ && !ending_) {
      if (display_->damage_pending()) earlier(next_frame_at_);
      if (std::int64_t due = encoder_.deferred_due_ms()) earlier(std::max(due + job_.started_steady_ms, next_frame_at_));
    }
  }
  int timeout = wake_at ? static_cast<int>(std::clamp<std::int64_t>(*wake_at - now(), 0, 60'000)) : -1;
  ::poll(fds.data(), fds.size(), timeout);
  woken_ = fds[0].revents != 0;
}

// True when capture has ended by request.
bool DisplayRecorder::handle_requests() {
  if (woken_) {
    std::uint64_t count = 0;
    [[maybe_unused]] ssize_t n = ::read(wake_.fd(), &count, sizeof count);
    woken_ = false;
  }
  for (;;) {
    Request request;
    {
      std::lock_guard lock(mutex_);
      if (requests_.empty()) return done_;
      request = std::move(requests_.front());
      requests_.pop_front();
    }
    try {
      handle(request);
      request.done.set_value();
    } catch (const Error&) { request.done.set_exception(std::current_exception()); }
  }
}

void DisplayRecorder::handle(Request& request) {
  switch (request.command) {
    case Command::pause:
      if (ending_) throw not_recording();
      if (paused_) return;
      if (starved_) throw no_room();
      take_events(true);
      paused_ = true;
      builder_.add({session_ms(), rec::Pause{true}}, now());
      if (!builder_.close()) throw no_room();
      return;
    case Command::resume:
      if (ending_) throw not_recording();
      if (!paused_) return;
      if (!display_) throw Error(ErrorKind::unavailable, "display_unavailable", "display " + job_.plan.target.display + " is not open yet");
      if (starved_) throw no_room();
      display_->process_events();
      take_events(true);  // what happened during the pause is not recorded
      paused_ = false;
      builder_.add({session_ms(), rec::Pause{false}}, now());
      encoder_.restart();
      frame(now(), true);
      if (!builder_.flush()) throw no_room();
      return;
    case Command::stop:
      if (!ending_) finish(rec::EndReason::stopped, "");
      if (ending_) throw no_room();  // capture has ended; the end record follows when there is room
      return;
    case Command::halt:
      if (!ending_) {
        take_events(true);
        builder_.close();
      }
      done_ = true;
      return;
    case Command::abandon:
      builder_.discard();
      ending_.reset();
      done_ = true;
      return;
    case Command::adopt: builder_.set_fencing_token(request.token); return;
    case Command::renew:
      encoder_.restart();
      picture_due_ = true;
      return;
  }
}

bool DisplayRecorder::is_input(const rec::Record& record) {
  return std::holds_alternative<rec::Key>(record.payload) || std::holds_alternative<rec::PointerMotion>(record.payload) ||
         std::holds_alternative<rec::PointerButton>(record.payload);
}

void DisplayRecorder::take_events(bool last) {
  if (!display_) return;
  const bool recorded = !paused_ && !starved_ && !ending_;
  for (const auto& event : last ? display_->take_last_events(now()) : display_->take_events(now())) {
    auto record = to_record(event, job_.started_steady_ms);
    if (!record) continue;
    remember_cursor(*record);
    if (is_input(*record)) last_input_wall_ms_ = clock_.wall_ms();
    if (!recorded) continue;
    if (rec::is_event(record->payload)) metrics_.events.add();
    if (const auto* key = std::get_if<rec::Key>(&record->payload); key != nullptr && key->masked) metrics_.masked_keys.add();
    builder_.add(*record, now());
  }
}

void DisplayRecorder::remember_cursor(const rec::Record& record) {
  if (std::holds_alternative<rec::CursorShape>(record.payload)) cursor_shape_ = record;
  if (std::holds_alternative<rec::CursorPosition>(record.payload)) cursor_position_ = record;
}

bool DisplayRecorder::frame_due(std::int64_t at) {
  if (at < next_frame_at_) return false;
  std::int64_t deferred = encoder_.deferred_due_ms();
  return picture_due_ || display_->damage_pending() || (deferred != 0 && deferred + job_.started_steady_ms <= at);
}

void DisplayRecorder::frame(std::int64_t at, bool whole_screen) {
  const std::int64_t ms = std::max<std::int64_t>(at - job_.started_steady_ms, 0);
  next_frame_at_ = at + frame_interval_ms_;
  framed_ = true;
  bool full = whole_screen || picture_due_ || encoder_.wants_full_screen(ms);
  std::int64_t deferred = encoder_.deferred_due_ms();
  // New damage and held-back tiles take turns, so that neither starves the other.
  const bool take_deferred = !full && deferred != 0 && deferred <= ms && (!display_->damage_pending() || !last_was_deferred_);
  last_was_deferred_ = take_deferred;
  auto started = std::chrono::steady_clock::now();
  std::vector<Rect> areas;
  if (take_deferred) areas = encoder_.deferred_areas();
  // A due keyframe compares the whole screen to find changes the server never reported: what it did report goes first.
  if (full && sized_ && display_->damage_pending())
    for (const PixelView& damaged : display_->grab().areas) areas.push_back(damaged.area);
  desktop::GrabResult grab = full ? display_->grab_full() : take_deferred ? display_->grab_areas(areas) : display_->grab();
  if (display_->lost() || grab.areas.empty()) return;
  metrics_.grab_seconds.observe(seconds_since(started));
  started = std::chrono::steady_clock::now();
  scratch_.clear();
  if (grab.resized || !sized_) encoder_.resize(grab.width, grab.height, ms, scratch_);
  sized_ = true;
  full = full || grab.resized;
  if (full && !grab.resized && !areas.empty()) {
    if (encoder_.update(ms, views_into(grab, areas), grab.hints, false, scratch_).frame) count_frame();
    grab.hints.clear();
  }
  rec::EncodeResult result = encoder_.update(ms, grab.areas, grab.hints, full, scratch_);
  metrics_.encode_seconds.observe(seconds_since(started));
  metrics_.missed_damage_pixels.add(static_cast<double>(result.missed_damage_pixels));
  if (full) picture_due_ = false;
  if (scratch_.empty()) return;
  metrics_.picture_bytes.add(static_cast<double>(scratch_.size()));
  // A player that starts here has seen no cursor yet. In one piece with the keyframe, which may close its segment.
  if (result.keyframe)
    for (auto* cursor : {&cursor_shape_, &cursor_position_})
      if (*cursor) rec::append(scratch_, {ms, (*cursor)->payload});
  builder_.add_stream(scratch_, now());
  if (scratch_.capacity() > (4u << 20)) Bytes().swap(scratch_);
  if (result.frame) count_frame();
}

void DisplayRecorder::count_frame() {
  ++frames_;
  metrics_.frames.add();
}

// Suspends capture when the spool refuses, and takes it up again when it does not.
void DisplayRecorder::check_room() {
  if (builder_.blocked() && !starved_) {
    starved_ = true;
    log_.error("capture suspended: the spool has no room", {{"session_id", job_.plan.session.text()}});
    hooks_.report("paused_disk_full", spool_.problem().value_or(""));
  }
  if (!starved_ || spool_.full() || !builder_.retry()) return;
  starved_ = false;
  log_.info("capture goes on", {{"session_id", job_.plan.session.text()}});
  hooks_.report("resumed", "disk_full");
  if (ending_) {
    auto [reason, detail] = *ending_;
    if (!builder_.close()) return;
    ending_.reset();
    done_ = true;
    hooks_.ended(reason, detail);
  } else if (!paused_ && display_) {
    gap(builder_.last_ms().value_or(session_ms()), rec::GapReason::disk_full, "");
    encoder_.restart();
    frame(now(), true);
  }
}

void DisplayRecorder::gap(std::int64_t from_ms, rec::GapReason reason, const std::string& detail) {
  std::int64_t to = std::max(session_ms(), from_ms);
  metrics_.gaps.add();
  builder_.add({to, rec::Gap{from_ms, to, reason, detail}}, now());
}

// The end record, and everything to the spool. When there is no room `ending_` stays set and check_room() goes on.
void DisplayRecorder::finish(rec::EndReason reason, const std::string& detail) {
  take_events(true);
  if (reason == rec::EndReason::display_lost) hooks_.report("display_lost", detail);
  if (starved_) gap(builder_.last_ms().value_or(session_ms()), rec::GapReason::disk_full, "");
  ending_ = {reason, detail};
  builder_.add({session_ms(), rec::End{reason}}, now());
  if (!builder_.close()) return;
  ending_.reset();
  done_ = true;
  hooks_.ended(reason, detail);
}

}  // namespace lucid::recorder
