#include "rdp/gateway/loop.hpp"

#include <algorithm>
#include <array>
#include <cerrno>

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "rdp/gateway/link.hpp"

namespace lucid::gateway {
namespace {

// Tags of epoll events: a Link's address with the socket in its lowest bit, or one of these.
constexpr std::uint64_t kWake = 0, kListener = 2;
constexpr int kEvents = 128;

}  // namespace

Counters::Counters(runtime::Metrics& m)
    : metrics(m),
      open(m.gauge("lucid_gateway_connections_open", "RDP connections that are being relayed.")),
      banned(m.gauge("lucid_gateway_banned_addresses", "Addresses that are banned now.")),
      waiting_reports(m.gauge("lucid_gateway_waiting_reports", "Reports the controller has not taken yet.")),
      waiting_admissions(m.gauge("lucid_gateway_waiting_admissions", "Clients that wait for a free thread to ask the controller with.")),
      relayed(m.counter("lucid_gateway_connections_total", "RDP connections by how far they came.", {{"outcome", "relayed"}})),
      refused_connections(m.counter("lucid_gateway_connections_total", "RDP connections by how far they came.", {{"outcome", "refused"}})),
      gone(m.counter("lucid_gateway_connections_total", "RDP connections by how far they came.", {{"outcome", "left_early"}})),
      bans(m.counter("lucid_gateway_bans_total", "Addresses banned after repeated failures.")),
      up(m.counter("lucid_gateway_relay_bytes_total", "Bytes relayed.", {{"direction", "up"}})),
      down(m.counter("lucid_gateway_relay_bytes_total", "Bytes relayed.", {{"direction", "down"}})),
      handshake(m.histogram("lucid_gateway_handshake_seconds", "From accept to the first relayed byte.")),
      admission(m.histogram("lucid_gateway_admission_seconds", "Time the controller took to admit or refuse.")) {
  // There before the first, so that its rise from 0 is seen.
  for (Refusal refusal : kRefusals) refused(refusal);
}

runtime::Counter& Counters::refused(Refusal refusal) {
  return metrics.counter("lucid_gateway_refused_total", "Connections that were not relayed, by reason.", {{"reason", name(refusal)}});
}

void Busy::add(int n) {
  {
    std::lock_guard lock(mutex_);
    count_ += n;
  }
  changed_.notify_all();
}

bool Busy::wait_for_none(std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, patience, [this] { return count_ == 0; });
}

Loop::Loop(Surroundings& around) : around_(around) {
  epoll_ = File(::epoll_create1(EPOLL_CLOEXEC));
  wake_ = File(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  epoll_event event{.events = EPOLLIN, .data = {.u64 = kWake}};
  if (!epoll_ || !wake_ || ::epoll_ctl(epoll_.fd(), EPOLL_CTL_ADD, wake_.fd(), &event) != 0)
    throw system_error("make an event loop", "of the gateway", errno);
}

Loop::~Loop() { stop(); }

void Loop::start() {
  thread_ = std::thread([this] { run(); });
}

void Loop::stop() {
  if (!thread_.joinable()) return;
  post([this] { stopping_ = true; });
  thread_.join();
}

void Loop::post(std::function<void()> work) {
  {
    std::lock_guard lock(mutex_);
    posted_.push_back(std::move(work));
  }
  std::uint64_t one = 1;
  [[maybe_unused]] ssize_t n = ::write(wake_.fd(), &one, sizeof one);  // fails only when it is set already
}

void Loop::watch_listener(int fd, std::function<void()> ready) {
  accept_ = std::move(ready);
  epoll_event event{.events = EPOLLIN, .data = {.u64 = kListener}};
  if (::epoll_ctl(epoll_.fd(), EPOLL_CTL_ADD, fd, &event) != 0) throw system_error("watch", "the listening socket", errno);
}

void Loop::forget_listener(int fd) {
  forget(fd);
  accept_ = nullptr;
}

Link& Loop::adopt(std::unique_ptr<Link> link) {
  Link& l = *link;
  links_.emplace(l.id(), std::move(link));
  size_ = links_.size();
  return l;
}

Link* Loop::find(const Id& id) {
  auto found = links_.find(id);
  return found == links_.end() ? nullptr : found->second.get();
}

void Loop::each(const std::function<void(Link&)>& visit) {
  std::vector<Link*> all;  // a visit may bury its link
  for (auto& [id, link] : links_) all.push_back(link.get());
  for (Link* link : all) visit(*link);
}

bool Loop::watch(Link& link, Which which, int fd) {
  epoll_event event{.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                    .data = {.u64 = reinterpret_cast<std::uint64_t>(&link) | static_cast<std::uint64_t>(which)}};
  return ::epoll_ctl(epoll_.fd(), EPOLL_CTL_ADD, fd, &event) == 0;
}

void Loop::forget(int fd) { ::epoll_ctl(epoll_.fd(), EPOLL_CTL_DEL, fd, nullptr); }

void Loop::set_deadline(Link& link, std::int64_t steady_ms) {
  clear_deadline(link);
  deadlines_.emplace(steady_ms, &link);
  link.deadline_ms = steady_ms;
}

void Loop::clear_deadline(Link& link) {
  if (link.deadline_ms) deadlines_.erase({*link.deadline_ms, &link});
  link.deadline_ms.reset();
}

void Loop::again(Link& link) {
  if (std::exchange(link.queued, true)) return;
  again_.push_back(&link);
}

void Loop::bury(Link& link) {
  clear_deadline(link);
  std::erase(again_, &link);
  auto found = links_.find(link.id());
  buried_.push_back(std::move(found->second));
  links_.erase(found);
  size_ = links_.size();
}

int Loop::wait_ms() const {
  if (!again_.empty()) return 0;
  if (deadlines_.empty()) return -1;
  return static_cast<int>(std::clamp<std::int64_t>(deadlines_.begin()->first - around_.clock.steady_ms(), 0, 60'000));
}

void Loop::dispatch(std::uint64_t tag, std::uint32_t events) {
  if (tag == kWake) {
    std::uint64_t count;
    [[maybe_unused]] ssize_t n = ::read(wake_.fd(), &count, sizeof count);
  } else if (tag == kListener) {
    if (accept_) accept_();
  } else {
    Link& link = *reinterpret_cast<Link*>(tag & ~std::uint64_t{1});
    if (!link.ended()) link.on_events((tag & 1) == 0 ? Which::client : Which::upstream, events);
  }
}

void Loop::run_posted() {
  std::vector<std::function<void()>> work;
  {
    std::lock_guard lock(mutex_);
    work.swap(posted_);
  }
  for (auto& item : work) item();
}

void Loop::run_deadlines() {
  if (deadlines_.empty()) return;
  std::int64_t now = around_.clock.steady_ms();
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    Link& link = *deadlines_.begin()->second;
    clear_deadline(link);
    link.on_deadline();
  }
}

void Loop::run_again() {
  for (std::size_t left = again_.size(); left > 0 && !again_.empty(); --left) {
    Link& link = *again_.front();
    again_.pop_front();
    link.queued = false;
    link.go_on();
  }
}

void Loop::tell_metrics() {
  if (moved_up > 0) around_.counters.up.add(static_cast<double>(std::exchange(moved_up, 0)));
  if (moved_down > 0) around_.counters.down.add(static_cast<double>(std::exchange(moved_down, 0)));
}

void Loop::run() {
  std::array<epoll_event, kEvents> events;
  while (!stopping_) {
    int n = ::epoll_wait(epoll_.fd(), events.data(), kEvents, wait_ms());
    wall_ms_ = around_.clock.wall_ms();
    for (int i = 0; i < n; ++i) dispatch(events[static_cast<std::size_t>(i)].data.u64, events[static_cast<std::size_t>(i)].events);
    run_posted();
    run_deadlines();
    run_again();
    tell_metrics();
    buried_.clear();
  }
}

}  // namespace lucid::gateway
