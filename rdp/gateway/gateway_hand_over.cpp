#include "rdp/gateway/gateway.hpp"

#include <cerrno>

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rdp/gateway/link.hpp"

// The predecessor's side of a hand-over. Until the successor says "taken" nothing is given away: whatever fails, the connections go on here.
namespace lucid::gateway {
namespace {

constexpr std::chrono::milliseconds kHandshakesMayFinish{3'000};

}  // namespace

void Gateway::offer_hand_over(std::function<void()> handed_over) {
  when_handed_over_ = std::move(handed_over);
  successor_door_ = listen_for_successor(directory_ + "/handoff.sock");
  stop_door_ = File(::eventfd(0, EFD_CLOEXEC));
  hand_over_thread_ = std::thread([this] { run_hand_over(); });
}

void Gateway::run_hand_over() {
  while (!handed_over_) {
    pollfd events[2] = {{stop_door_.fd(), POLLIN, 0}, {successor_door_.fd(), POLLIN, 0}};
    if (::poll(events, 2, -1) < 0 && errno != EINTR) break;
    if (events[0].revents != 0) break;
    if (events[1].revents == 0) continue;
    File socket(::accept4(successor_door_.fd(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!socket) continue;
    try {
      hand_over(socket);
    } catch (const std::exception& e) { log_.warn("a hand-over did not come about", {{"error", e.what()}}); }
  }
  // The name belongs to the successor once there is one.
  if (!handed_over_) ::unlink((directory_ + "/handoff.sock").c_str());
  successor_door_.close();
}

Handed Gateway::stand_still() {
  Handed handed;
  loops_[0]->ask([&] {
    if (!listener_) return;
    loops_[0]->forget_listener(listener_.fd());
    handed.listener = duplicate(listener_);
  });
  // New clients wait in the listening socket's queue; those in the middle of a handshake get the time it takes.
  busy_.wait_for_none(kHandshakesMayFinish);
  for (auto& loop : loops_)
    loop->ask([&] {
      loop->each([&](Link& link) {
        if (auto item = link.stand_still()) handed.links.push_back(std::move(*item));
      });
    });
  handed.reports = reporter_.hold();
  handed.bans = bans();
  return handed;
}

void Gateway::move_again() {
  reporter_.go_on();
  for (auto& loop : loops_) loop->ask([&] { loop->each([](Link& link) { link.move_again(); }); });
  loops_[0]->ask([&] {
    if (listener_) loops_[0]->watch_listener(listener_.fd(), [this] { accept_clients(); });
  });
}

void Gateway::hand_over(const File& socket) {
  set_deadlines(socket);
  check_same_user(socket);
  Message asked = receive_message(socket);
  const json::value* type = asked.body.if_contains("type");
  const json::value* version = asked.body.if_contains("version");
  if (type == nullptr || *type != "hand_over" || version == nullptr || *version != kHandOverVersion)
    throw Error(ErrorKind::malformed, "something unknown was asked at the hand-over socket");
  handing_over_ = true;
  try {
    Handed handed = stand_still();
    send_handed(socket, handed);
    Message answer = receive_message(socket);
    const json::value* taken = answer.body.if_contains("type");
    if (taken == nullptr || *taken != "taken") throw Error(ErrorKind::malformed, "the successor did not take the connections");
  } catch (...) {
    move_again();
    handing_over_ = false;
    throw;
  }
  handed_over_ = true;
  // Left for the kernel to close with this process, after its data lock: the successor waits for that.
  [[maybe_unused]] int until_the_end = ::fcntl(socket.fd(), F_DUPFD_CLOEXEC, 0);
  reporter_.abandon();
  reporter_.go_on();
  stop_listening();
  for (auto& loop : loops_) loop->ask([&] { loop->each([](Link& link) { link.give_up(); }); });
  log_.info("handed over", {{"process", std::to_string(peer_process(socket))}});
  if (when_handed_over_) when_handed_over_();
}

}  // namespace lucid::gateway
