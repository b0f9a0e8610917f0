// Follows the windows of a display: which exist, what they are called, who owns them, which one has the keyboard, and
// where they move. With an EWMH window manager its client list counts; without one, the mapped children of the root.
// Changes are gathered and looked up in one pipelined round trip; titles and geometry at most every 100 ms. One thread,
// the Display's. Sources: EWMH 1.5, ICCCM, X-Resource 1.2 (the server's own word on the client's pid).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "lib/base/geometry.hpp"
#include "lib/desktop/connection.hpp"
#include "lib/desktop/events.hpp"
#include "lib/desktop/password_guard.hpp"

namespace lucid::desktop {

class Windows {
 public:
  // The root must report property, structure and substructure events to us already.
  Windows(Connection& connection, std::function<void(DesktopEvent)> emit);

  bool handle(const void* event);  // an xcb_generic_event_t
  // An event another client sent. Window managers tell a client this way that its frame moved (ICCCM 4.1.5): taken as a
  // reason to look, never at its word.
  void handle_sent(const void* event);
  // Looks up what changed and emits events. True when anything was looked up.
  bool refresh(std::int64_t now);
  std::optional<std::int64_t> next_deadline() const;
  // Without a window manager the keyboard may follow the pointer unannounced: looks where it is before a key is judged.
  void before_key(std::int64_t now);

  // The windows that may get the next key; `receivers_version` grows when they change.
  std::vector<WindowFacts> receivers() const;
  std::uint64_t receivers_version() const { return receivers_version_; }
  // Windows that stand elsewhere than at the last call; at most 32.
  std::vector<MoveHint> take_hints();
  // Who created a window, whatever kind it is.
  WindowFacts describe(std::uint32_t window);

 private:
  struct Details {
    WindowFacts facts;
    Rect geometry;
    bool operator==(const Details&) const = default;
  };
  struct Client {
    Details details;
    bool announced = false, stale = true;
    std::int64_t changed_at = 0;
  };
  // A child of the root: a client's frame, a menu, a tooltip.
  struct Top {
    Rect now, seen;
    bool mapped = false, seen_valid = false, unmanaged = false;
    std::optional<WindowFacts> facts;  // of mapped unmanaged windows only
  };
  void read_tree();
  void read_clients();
  void read_active(std::int64_t now);
  void read_details(std::int64_t now);
  void read_unmanaged();
  bool managed();
  std::vector<std::optional<Details>> look_up(const std::vector<std::uint32_t>& windows);
  std::vector<std::uint32_t> window_list(std::uint32_t window, std::uint32_t property, std::uint32_t limit);
  void moved(std::uint32_t window, Top& top);
  void add_top(std::uint32_t window, Rect area, bool unmanaged, bool mapped);
  void emit(WindowAction action, std::uint32_t window, const Details& details, std::int64_t at);

  Connection& connection_;
  std::function<void(DesktopEvent)> emit_;
  bool resources_ = false;  // X-Resource 1.2 is there
  struct {
    std::uint32_t client_list, active, wm_check, name, pid, utf8;
  } atoms_{};
  std::unordered_map<std::uint32_t, Top> tops_;
  std::unordered_map<std::uint32_t, Client> clients_;
  std::unordered_set<std::uint32_t> moved_;
  std::uint32_t active_ = 0, check_window_ = 0;
  Details active_details_;  // as found when it became active
  bool managed_ = false, focus_follows_pointer_ = false;
  bool list_stale_ = true, active_stale_ = true, details_stale_ = false, unmanaged_stale_ = true, manager_stale_ = true;
  std::int64_t list_changed_at_ = 0, active_changed_at_ = 0, details_read_ = 0;
  std::uint64_t receivers_version_ = 1;
};

}  // namespace lucid::desktop
