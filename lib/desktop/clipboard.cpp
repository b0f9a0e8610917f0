#include "lib/desktop/clipboard.hpp"

#include <algorithm>
#include <array>

#include <xcb/xcb.h>
#include <xcb/xfixes.h>

#include "lib/desktop/text.hpp"

namespace lucid::desktop {
namespace {

constexpr std::size_t kMaxContent = 16 << 20;
constexpr std::size_t kMaxText = 64 << 10;
constexpr std::size_t kMaxTypes = 64;
constexpr std::int64_t kStepMs = 2000, kTransferMs = 10'000;
// What KDE's convention names, and what Windows clients of rdesktop-like bridges pass on.
constexpr std::array<std::string_view, 2> kSecretHints = {"x-kde-passwordManagerHint", "ExcludeClipboardContentFromMonitorProcessing"};
// In order of preference.
constexpr std::array<std::string_view, 6> kTextTypes = {"UTF8_STRING",  "text/plain;charset=utf-8", "text/plain", "STRING", "TEXT",
                                                        "COMPOUND_TEXT"};
// Types about the selection, not of its content.
constexpr std::array<std::string_view, 8> kMetaTypes = {"TARGETS", "TIMESTAMP",        "MULTIPLE",        "SAVE_TARGETS",
                                                        "DELETE",  "INSERT_SELECTION", "INSERT_PROPERTY", "LENGTH"};

bool contains(const auto& list, std::string_view word) { return std::find(list.begin(), list.end(), word) != list.end(); }

bool is_text(std::string_view type) { return contains(kTextTypes, type) || type.starts_with("text/"); }

std::string choose_type(const std::vector<std::string>& types) {
  for (std::string_view wanted : kTextTypes)
    if (contains(types, wanted)) return std::string(wanted);
  for (const std::string& type : types)
    if (!type.empty() && !contains(kMetaTypes, type)) return type;
  return {};
}

}  // namespace

Clipboard::Clipboard(Connection& connection, std::function<Owner(std::uint32_t)> describe, std::function<void(DesktopEvent)> emit)
    : connection_(connection), describe_(std::move(describe)), emit_(std::move(emit)) {
  event_base_ = connection_.extension(&xcb_xfixes_id, "XFIXES", true).first_event;
  for (const char* name : {"CLIPBOARD", "PRIMARY"}) {
    Watch watch;
    watch.selection = connection_.atom(name);
    watch.property = connection_.atom(std::string("_LUCID_") + name);
    watch.event.selection = name;
    watches_.push_back(std::move(watch));
    xcb_xfixes_select_selection_input(connection_.raw(), connection_.own_window(), watches_.back().selection,
                                      XCB_XFIXES_SELECTION_EVENT_MASK_SET_SELECTION_OWNER);
  }
}

bool Clipboard::handle(const void* raw) {
  auto type = static_cast<const xcb_generic_event_t*>(raw)->response_type & 0x7f;
  auto find = [this](auto matches) {
    auto it = std::find_if(watches_.begin(), watches_.end(), matches);
    return it == watches_.end() ? nullptr : &*it;
  };
  if (type == event_base_ + XCB_XFIXES_SELECTION_NOTIFY) {
    auto* event = static_cast<const xcb_xfixes_selection_notify_event_t*>(raw);
    std::int64_t at = connection_.server_clock().to_steady(event->selection_timestamp, connection_.clock().steady_ms());
    if (Watch* watch = find([&](const Watch& w) { return w.selection == event->selection; }))
      start(*watch, event->owner, event->selection_timestamp, at);
    return true;
  }
  if (type == XCB_SELECTION_NOTIFY) {
    auto* event = static_cast<const xcb_selection_notify_event_t*>(raw);
    Watch* watch = find([&](const Watch& w) { return w.selection == event->selection; });
    // A late answer to a request given up, or one to an earlier ownership, carries another time.
    if (watch && event->requestor == connection_.own_window() && (event->time == watch->time || event->time == 0))
      answered(*watch, event->property == XCB_ATOM_NONE);
    return true;
  }
  if (type == XCB_PROPERTY_NOTIFY) {
    auto* event = static_cast<const xcb_property_notify_event_t*>(raw);
    if (event->window != connection_.own_window() || event->state != XCB_PROPERTY_NEW_VALUE) return false;
    Watch* watch = find([&](const Watch& w) { return w.property == event->atom; });
    if (!watch) return false;
    if (watch->step == Step::pieces) read_piece(*watch);
    return true;
  }
  return false;
}

void Clipboard::start(Watch& watch, std::uint32_t owner, std::uint32_t time, std::int64_t at) {
  if (watch.step != Step::idle) finish(watch, false);  // replaced before it was read
  if (owner == XCB_WINDOW_NONE || owner == connection_.own_window()) return;
  Owner who = describe_(owner);
  std::string name = watch.event.selection;
  watch.event = ClipboardEvent{};
  watch.event.selection = std::move(name);
  watch.event.owner_pid = who.pid;
  watch.event.masked = who.secret;
  watch.time = time;
  watch.at = at;
  watch.announced = 0;
  watch.until = connection_.clock().steady_ms() + kTransferMs;
  ask(watch, connection_.atom("TARGETS"), Step::types);
}

void Clipboard::ask(Watch& watch, std::uint32_t target, Step step) {
  watch.step = step;
  watch.step_until = connection_.clock().steady_ms() + kStepMs;
  xcb_delete_property(connection_.raw(), connection_.own_window(), watch.property);
  xcb_convert_selection(connection_.raw(), connection_.own_window(), watch.selection, target, watch.property, watch.time);
  connection_.flush();
}

void Clipboard::answered(Watch& watch, bool refused) {
  if (watch.step == Step::types) {
    if (refused)
      finish(watch, false);
    else
      read_types(watch);
  } else if (watch.step == Step::content) {
    if (refused)
      finish(watch, false);
    else
      read_content(watch);
  }
}

void Clipboard::read_types(Watch& watch) {
  auto reply = connection_.wait<xcb_get_property_reply_t>(
      xcb_get_property(connection_.raw(), 1, connection_.own_window(), watch.property, XCB_GET_PROPERTY_TYPE_ANY, 0, kMaxTypes));
  // Some owners answer with type TARGETS instead of ATOM.
  if (!reply || reply->format != 32) return finish(watch, false);
  auto* values = static_cast<const std::uint32_t*>(xcb_get_property_value(reply.get()));
  auto count = static_cast<std::size_t>(xcb_get_property_value_length(reply.get())) / 4;
  for (std::string& name : connection_.atom_names(std::vector<std::uint32_t>(values, values + count)))
    if (!name.empty()) watch.event.types.push_back(std::move(name));
  for (const std::string& name : watch.event.types)
    if (contains(kSecretHints, name)) watch.event.masked = true;
  watch.event.content_type = choose_type(watch.event.types);
  if (watch.event.masked || watch.event.content_type.empty()) return finish(watch, watch.event.content_type.empty());
  ask(watch, connection_.atom(watch.event.content_type), Step::content);
}

void Clipboard::read_content(Watch& watch) {
  auto reply = connection_.wait<xcb_get_property_reply_t>(
      xcb_get_property(connection_.raw(), 1, connection_.own_window(), watch.property, XCB_GET_PROPERTY_TYPE_ANY, 0, kMaxContent / 4));
  if (!reply) return finish(watch, false);
  auto length = static_cast<std::size_t>(xcb_get_property_value_length(reply.get()));
  auto* value = static_cast<const std::uint8_t*>(xcb_get_property_value(reply.get()));
  if (reply->type == connection_.atom("INCR")) {
    if (reply->format == 32 && length >= 4) watch.announced = *reinterpret_cast<const std::uint32_t*>(value);
    watch.step = Step::pieces;  // reading it deleted it, which tells the owner to begin
    watch.step_until = connection_.clock().steady_ms() + kStepMs;
    connection_.flush();
    return;
  }
  watch.event.size = std::uint64_t{length} + reply->bytes_after;
  watch.event.content.assign(value, value + length);
  finish(watch, reply->bytes_after == 0);
}

void Clipboard::read_piece(Watch& watch) {
  auto reply = connection_.wait<xcb_get_property_reply_t>(
      xcb_get_property(connection_.raw(), 1, connection_.own_window(), watch.property, XCB_GET_PROPERTY_TYPE_ANY, 0, kMaxContent / 4));
  if (!reply) return finish(watch, false);
  auto length = static_cast<std::size_t>(xcb_get_property_value_length(reply.get()));
  auto* value = static_cast<const std::uint8_t*>(xcb_get_property_value(reply.get()));
  watch.event.size += length;
  if (length == 0) return finish(watch, true);
  if (watch.event.size + reply->bytes_after > kMaxContent) return finish(watch, false);
  watch.event.content.insert(watch.event.content.end(), value, value + length);
  watch.step_until = connection_.clock().steady_ms() + kStepMs;
  connection_.flush();
}

void Clipboard::finish(Watch& watch, bool complete) {
  watch.step = Step::idle;
  ClipboardEvent& event = watch.event;
  event.complete = complete;
  if (!complete) {
    event.size = std::max(event.size, watch.announced);
    event.content = {};
  } else if (is_text(event.content_type)) {
    // Four bytes more than wanted, so that a character at the limit is cut by to_utf8 and not before.
    std::string_view content = as_text(event.content).substr(0, kMaxText + 4);
    event.text = event.content_type == "STRING" ? to_utf8(latin1_to_utf8(content), kMaxText) : to_utf8(content, kMaxText);
  }
  std::string name = event.selection;
  emit_({watch.at, std::move(event)});
  event = ClipboardEvent{};
  event.selection = std::move(name);
}

void Clipboard::tick(std::int64_t now) {
  for (Watch& watch : watches_)
    if (watch.step != Step::idle && now >= std::min(watch.step_until, watch.until)) finish(watch, false);
}

std::optional<std::int64_t> Clipboard::next_deadline() const {
  std::optional<std::int64_t> next;
  for (const Watch& watch : watches_) {
    if (watch.step == Step::idle) continue;
    std::int64_t due = std::min(watch.step_until, watch.until);
    next = next ? std::min(*next, due) : due;
  }
  return next;
}

}  // namespace lucid::desktop
