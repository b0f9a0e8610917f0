// Watches CLIPBOARD and PRIMARY: when a selection changes hands, asks its owner for the types and for the best one's
// content, whole or in pieces (INCR, ICCCM 2.7.2), at most 16 MiB. Owners are other programs and may be slow or hostile:
// everything is a state machine driven by events, with a limit of 2 s a step and 10 s altogether, so nobody can hold us
// up. Content that a password manager marks as secret is not even asked for. One thread, the Display's.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lib/desktop/connection.hpp"
#include "lib/desktop/events.hpp"

namespace lucid::desktop {

class Clipboard {
 public:
  struct Owner {
    std::uint32_t pid = 0;
    bool secret = false;  // a password manager
  };
  // `describe(window)` tells who owns a selection; `emit` gets the finished events.
  Clipboard(Connection& connection, std::function<Owner(std::uint32_t)> describe, std::function<void(DesktopEvent)> emit);

  bool handle(const void* event);  // an xcb_generic_event_t; true when it was ours
  void tick(std::int64_t now);     // gives up on owners that are too slow
  std::optional<std::int64_t> next_deadline() const;

 private:
  enum class Step { idle, types, content, pieces };
  struct Watch {
    std::uint32_t selection = 0, property = 0;
    Step step = Step::idle;
    std::uint32_t time = 0;  // of the ownership change, for the requests
    std::int64_t at = 0, step_until = 0, until = 0;
    ClipboardEvent event;
    std::uint64_t announced = 0;
  };
  void start(Watch& watch, std::uint32_t owner, std::uint32_t time, std::int64_t at);
  void ask(Watch& watch, std::uint32_t target, Step step);
  void answered(Watch& watch, bool refused);
  void read_types(Watch& watch);
  void read_content(Watch& watch);
  void read_piece(Watch& watch);
  void finish(Watch& watch, bool complete);

  Connection& connection_;
  std::function<Owner(std::uint32_t)> describe_;
  std::function<void(DesktopEvent)> emit_;
  std::uint8_t event_base_ = 0;
  std::vector<Watch> watches_;
};

}  // namespace lucid::desktop
