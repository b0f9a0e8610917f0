#include "lib/desktop/display.hpp"

#include <algorithm>
#include <utility>

#include <xcb/xcb.h>
#include <xcb/xfixes.h>
#include <xcb/xinput.h>

#include "lib/desktop/clipboard.hpp"
#include "lib/desktop/connection.hpp"
#include "lib/desktop/hold_queue.hpp"
#include "lib/desktop/keyboard.hpp"
#include "lib/desktop/password_guard.hpp"
#include "lib/desktop/processes.hpp"
#include "lib/desktop/procfs.hpp"
#include "lib/desktop/screen.hpp"
#include "lib/desktop/windows.hpp"

namespace lucid::desktop {
namespace {

constexpr std::int64_t kMotionEveryMs = 50;
constexpr std::int64_t kCursorEveryMs = 100;
constexpr std::int64_t kLateKeyMs = 250;
// More than this at once, and the caller gets its turn in between.
constexpr int kMaxEventsPerRound = 4096, kMaxRounds = 8;
constexpr std::size_t kMaxCursor = 512;

}  // namespace

class Display::Impl {
 public:
  Impl(const DisplayTarget& target, const DisplayOptions& options, const Clock& clock)
      : options_(options),
        clock_(clock),
        connection_(target.display, target.xauthority, clock),
        screen_(connection_),
        guard_(system_, options.title_rules, options.executable_rules),
        hold_([this](std::int64_t now) { return hides_input(now); }) {
    watch_root();
    windows_ = std::make_unique<Windows>(connection_, [this](DesktopEvent event) {
      if (options_.windows) ready_.push_back(std::move(event));
    });
    if (options_.keystrokes != Keystrokes::off) keyboard_ = std::make_unique<Keyboard>(connection_);
    watch_input();
    if (options_.clipboard)
      clipboard_ = std::make_unique<Clipboard>(
          connection_,
          [this](std::uint32_t window) {
            WindowFacts facts = windows_->describe(window);
            return Clipboard::Owner{facts.pid, PasswordGuard::is_password_manager(facts)};
          },
          [this](DesktopEvent event) { ready_.push_back(std::move(event)); });
    if (options_.processes)
      processes_ = std::make_unique<Processes>(target.display, clock_.steady_ms(),
                                               [this](DesktopEvent event) { ready_.push_back(std::move(event)); });
    learn_time();
    cursor_changed_at_ = pointer_moved_at_ = clock_.steady_ms();
    read_cursor(clock_.steady_ms());
    place_cursor(query_pointer(), clock_.steady_ms());
    settle();
    if (connection_.lost())
      throw Error(ErrorKind::unavailable, "display_unavailable", "open display " + target.display + ": " + connection_.lost_reason());
  }

  void settle() {
    busy_ = false;
    std::int64_t now = clock_.steady_ms();
    for (int round = 0; round < kMaxRounds; ++round) {
      const bool more = drain();
      now = clock_.steady_ms();
      // A round trip may have pulled further events into xcb's queue, where no poll() sees them.
      if (!windows_->refresh(now) && !more) break;
      busy_ = round + 1 == kMaxRounds;
    }
    settled_ = !clipboard_ || !clipboard_->next_deadline();  // its tick may ask for something
    hold_.tick(now);
    if (clipboard_) clipboard_->tick(now);
    if (processes_) processes_->tick(now);
    connection_.flush();
  }

  std::vector<DesktopEvent> take(std::int64_t now, bool last) {
    const bool just_settled = std::exchange(settled_, false);
    bool asked = false;
    if (pointer_moved_ && (last || now - pointer_read_ >= kMotionEveryMs)) {
      std::int64_t at = pointer_moved_at_;
      auto pointer = query_pointer();
      asked = true;
      if (pointer) ready_.push_back({at, PointerMotion{pointer->x, pointer->y}});
      place_cursor(pointer, at);
      pointer_moved_ = false;
      pointer_read_ = now;
    }
    if (cursor_changed_ && (last || now - cursor_read_ >= kCursorEveryMs)) {
      read_cursor(now);
      asked = true;
    }
    // Right after process_events() there is nothing to drain, unless a round trip brought it in.
    if (asked || !just_settled || last) settle();
    settled_ = false;
    bool gone = connection_.lost();
    for (DesktopEvent& key : last || gone ? hold_.take_all(now) : hold_.take(now)) ready_.push_back(std::move(key));
    if (gone && !lost_told_) {
      lost_told_ = true;
      ready_.push_back({now, Lost{connection_.lost_reason()}});
    }
    auto events = std::move(ready_);
    ready_.clear();
    return events;
  }

  std::optional<std::int64_t> next_deadline() const {
    std::optional<std::int64_t> next;
    auto consider = [&](std::optional<std::int64_t> at) {
      if (at && (!next || *at < *next)) next = at;
    };
    if (!ready_.empty() || busy_) consider(clock_.steady_ms());
    if (const_cast<Connection&>(connection_).lost()) {
      if (!lost_told_) consider(clock_.steady_ms());
      return next;
    }
    consider(hold_.next_deadline());
    consider(windows_->next_deadline());
    if (clipboard_) consider(clipboard_->next_deadline());
    if (processes_) consider(processes_->next_deadline());
    if (pointer_moved_) consider(pointer_read_ + kMotionEveryMs);
    if (cursor_changed_) consider(cursor_read_ + kCursorEveryMs);
    return next;
  }

  template <class Grab>
  GrabResult grab(bool with_hints, Grab&& pixels) {
    GrabResult result;
    if (!connection_.lost()) {
      // The cursor may be moved by programs, which no input event tells; asking along with the pixels costs nothing.
      auto cookie = xcb_query_pointer(connection_.raw(), connection_.root());
      Screen::Pixels got = pixels();
      result.areas = std::move(got.areas);
      result.resized = got.resized;
      place_cursor(pointer_from(connection_.wait<xcb_query_pointer_reply_t>(cookie)), clock_.steady_ms());
      settle();
      if (with_hints) result.hints = windows_->take_hints();
    }
    result.width = screen_.width();
    result.height = screen_.height();
    return result;
  }

  Connection& connection() { return connection_; }
  Screen& screen() { return screen_; }

 private:
  struct Pointer {
    std::int32_t x, y;
  };

  void watch_root() {
    xcb_connection_t* c = connection_.raw();
    const std::uint32_t mask = XCB_EVENT_MASK_STRUCTURE_NOTIFY | XCB_EVENT_MASK_SUBSTRUCTURE_NOTIFY | XCB_EVENT_MASK_PROPERTY_CHANGE;
    xcb_change_window_attributes(c, connection_.root(), XCB_CW_EVENT_MASK, &mask);
    xfixes_event_ = connection_.extension(&xcb_xfixes_id, "XFIXES", true).first_event;
    xcb_xfixes_select_cursor_input(c, connection_.root(), XCB_XFIXES_CURSOR_NOTIFY_MASK_DISPLAY_CURSOR);
  }

  void watch_input() {
    xcb_connection_t* c = connection_.raw();
    xinput_opcode_ = connection_.extension(&xcb_input_id, "XInputExtension", true).opcode;
    auto version = connection_.wait<xcb_input_xi_query_version_reply_t>(xcb_input_xi_query_version(c, 2, 2));
    // Raw events reach us during other clients' grabs since 2.1.
    if (!version || version->major_version < 2 || (version->major_version == 2 && version->minor_version < 1))
      throw Error(ErrorKind::unavailable, "display_unavailable",
                  "open display " + connection_.name() + ": the X server's XInputExtension is older than 2.1, which recording needs");
    struct {
      xcb_input_event_mask_t head;
      std::uint32_t mask;
    } select{};
    select.head.deviceid = XCB_INPUT_DEVICE_ALL_MASTER;
    select.head.mask_len = 1;
    select.mask =
        XCB_INPUT_XI_EVENT_MASK_RAW_BUTTON_PRESS | XCB_INPUT_XI_EVENT_MASK_RAW_BUTTON_RELEASE | XCB_INPUT_XI_EVENT_MASK_RAW_MOTION;
    if (options_.keystrokes != Keystrokes::off)
      select.mask |= XCB_INPUT_XI_EVENT_MASK_RAW_KEY_PRESS | XCB_INPUT_XI_EVENT_MASK_RAW_KEY_RELEASE;
    xcb_input_xi_select_events(c, connection_.root(), 1, &select.head);
  }

  // Two exchanges bind the server's clock to ours within the time of a round trip.
  void learn_time() {
    for (int i = 0; i < 2; ++i) {
      connection_.request_time();
      connection_.wait<xcb_get_input_focus_reply_t>(xcb_get_input_focus(connection_.raw()));
      drain();
    }
  }

  // True when it stopped before the last event.
  bool drain() {
    for (int count = 0; count < kMaxEventsPerRound; ++count) {
      Owned<void> event = connection_.next_event();
      if (!event) return false;
      handle(event.get());
    }
    return true;
  }

  void handle(const void* raw) {
    auto* event = static_cast<const xcb_generic_event_t*>(raw);
    auto type = event->response_type & 0x7f;
    if (type == 0) return;  // the error of a request whose outcome does not matter (a window gone meanwhile)
    if (type == XCB_GE_GENERIC) return handle_input(raw);
    // Sent by another client: clipboard owners answer that way; anything else may be a lie about the desktop.
    if (event->response_type & 0x80) {
      if (clipboard_ && type == XCB_SELECTION_NOTIFY) clipboard_->handle(raw);
      return windows_->handle_sent(raw);
    }
    if (type == XCB_PROPERTY_NOTIFY) {
      auto* property = static_cast<const xcb_property_notify_event_t*>(raw);
      if (connection_.handle_time(property->window, property->atom, property->time)) return;
    }
    if (type == xfixes_event_ + XCB_XFIXES_CURSOR_NOTIFY) {
      auto* cursor = static_cast<const xcb_xfixes_cursor_notify_event_t*>(raw);
      cursor_changed_ = true;
      cursor_changed_at_ = connection_.server_clock().to_steady(cursor->timestamp, clock_.steady_ms());
      return;
    }
    if (screen_.handle(raw)) return;
    if (keyboard_ && keyboard_->handle(raw)) return;
    if (clipboard_ && clipboard_->handle(raw)) return;
    windows_->handle(raw);
  }

  void handle_input(const void* raw) {
    auto* any = static_cast<const xcb_ge_generic_event_t*>(raw);
    if (any->extension != xinput_opcode_) return;
    // The raw events all share one layout.
    auto* event = static_cast<const xcb_input_raw_key_press_event_t*>(raw);
    std::int64_t now = clock_.steady_ms();
    std::int64_t at = connection_.server_clock().to_steady(event->time, now);
    switch (any->event_type) {
      case XCB_INPUT_RAW_KEY_PRESS: handle_key(event->detail, true, at, now); break;
      case XCB_INPUT_RAW_KEY_RELEASE: handle_key(event->detail, false, at, now); break;
      case XCB_INPUT_RAW_BUTTON_PRESS:
      case XCB_INPUT_RAW_BUTTON_RELEASE: {
        auto pointer = query_pointer();
        if (pointer)
          ready_.push_back(
              {at, PointerButton{pointer->x, pointer->y, static_cast<std::uint8_t>(std::min<std::uint32_t>(event->detail, 255)),
                                 any->event_type == XCB_INPUT_RAW_BUTTON_PRESS}});
        place_cursor(pointer, at);
        break;
      }
      case XCB_INPUT_RAW_MOTION:
        pointer_moved_ = true;
        pointer_moved_at_ = at;
        break;
      default: break;
    }
    connection_.refresh_time();
  }

  void handle_key(std::uint32_t keycode, bool pressed, std::int64_t at, std::int64_t now) {
    KeyEvent key = keyboard_->key(keycode, pressed);
    if (options_.keystrokes == Keystrokes::metadata) {
      ready_.push_back({at, KeyEvent{key.action, 0, 0, true, {}}});
      return;
    }
    windows_->before_key(now);
    // Nobody looked at the terminal when this key was pressed.
    bool unseen = now - at > kLateKeyMs && (hides_input(now) || guard_.watches_terminal());
    hold_.push(at, now, keycode, std::move(key), unseen);
  }

  bool hides_input(std::int64_t now) {
    if (receivers_version_ != windows_->receivers_version()) {
      receivers_version_ = windows_->receivers_version();
      guard_.set_receivers(windows_->receivers());
    }
    return guard_.hides_input(now);
  }

  static std::optional<Pointer> pointer_from(const Owned<xcb_query_pointer_reply_t>& reply) {
    if (!reply) return std::nullopt;
    return Pointer{reply->root_x, reply->root_y};
  }
  std::optional<Pointer> query_pointer() {
    return pointer_from(connection_.wait<xcb_query_pointer_reply_t>(xcb_query_pointer(connection_.raw(), connection_.root())));
  }

  void place_cursor(std::optional<Pointer> pointer, std::int64_t at) {
    if (!pointer) return;
    CursorPosition position{pointer->x, pointer->y, cursor_visible_};
    if (cursor_told_ && position.x == cursor_.x && position.y == cursor_.y && position.visible == cursor_.visible) return;
    cursor_ = position;
    cursor_told_ = true;
    ready_.push_back({at, position});
  }

  void read_cursor(std::int64_t now) {
    cursor_changed_ = false;
    cursor_read_ = now;
    auto reply = connection_.wait<xcb_xfixes_get_cursor_image_reply_t>(xcb_xfixes_get_cursor_image(connection_.raw()));
    if (!reply || reply->width > kMaxCursor || reply->height > kMaxCursor) return;
    CursorShape shape{reply->width, reply->height, reply->xhot, reply->yhot, {}};
    const std::uint32_t* pixels = xcb_xfixes_get_cursor_image_cursor_image(reply.get());
    shape.argb.assign(pixels, pixels + xcb_xfixes_get_cursor_image_cursor_image_length(reply.get()));
    cursor_visible_ = std::any_of(shape.argb.begin(), shape.argb.end(), [](std::uint32_t pixel) { return pixel >> 24 != 0; });
    ready_.push_back({cursor_changed_at_, std::move(shape)});
    place_cursor(Pointer{reply->x, reply->y}, cursor_changed_at_);
  }

  DisplayOptions options_;
  const Clock& clock_;
  Connection connection_;
  Screen screen_;
  ProcFs system_;
  PasswordGuard guard_;
  HoldQueue hold_;
  std::unique_ptr<Windows> windows_;
  std::unique_ptr<Keyboard> keyboard_;
  std::unique_ptr<Clipboard> clipboard_;
  std::unique_ptr<Processes> processes_;
  std::vector<DesktopEvent> ready_;
  std::uint8_t xfixes_event_ = 0, xinput_opcode_ = 0;
  std::uint64_t receivers_version_ = 0;
  bool busy_ = false, lost_told_ = false;
  bool settled_ = false;  // no round trip since the last settle()
  bool pointer_moved_ = false, cursor_changed_ = false, cursor_told_ = false, cursor_visible_ = true;
  std::int64_t pointer_moved_at_ = 0, pointer_read_ = 0, cursor_changed_at_ = 0, cursor_read_ = 0;
  CursorPosition cursor_;
};

Display::Display(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Display::~Display() = default;

std::unique_ptr<Display> Display::open(const DisplayTarget& target, const DisplayOptions& options, const Clock& clock) {
  return std::unique_ptr<Display>(new Display(std::make_unique<Impl>(target, options, clock)));
}

std::vector<int> Display::poll_fds() const {
  if (impl_->connection().lost()) return {};  // a dead socket is readable for ever
  return {xcb_get_file_descriptor(impl_->connection().raw())};
}
std::optional<std::int64_t> Display::next_deadline() const { return impl_->next_deadline(); }
void Display::process_events() { impl_->settle(); }
std::vector<DesktopEvent> Display::take_events(std::int64_t now) { return impl_->take(now, false); }
std::vector<DesktopEvent> Display::take_last_events(std::int64_t now) { return impl_->take(now, true); }
int Display::width() const { return impl_->screen().width(); }
int Display::height() const { return impl_->screen().height(); }
int Display::depth() const { return impl_->screen().depth(); }
bool Display::shared_memory() const { return impl_->screen().shared_memory(); }
bool Display::lost() const { return impl_->connection().lost(); }
bool Display::damage_pending() const { return !impl_->connection().lost() && impl_->screen().damage_pending(); }

GrabResult Display::grab() {
  return impl_->grab(true, [this] { return impl_->screen().grab_damage(); });
}
GrabResult Display::grab_full() {
  return impl_->grab(true, [this] { return impl_->screen().grab_all(); });
}
GrabResult Display::grab_areas(std::span<const Rect> areas) {
  return impl_->grab(false, [&] { return impl_->screen().grab(areas); });
}

}  // namespace lucid::desktop
