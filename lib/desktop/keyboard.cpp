#include "lib/desktop/keyboard.hpp"

#include <cstdlib>
#include <string_view>

#include <xcb/xcb.h>
// xcb/xkb.h names a field "explicit".
#define explicit explicit_
#include <xcb/xkb.h>
#undef explicit
#include <xkbcommon/xkbcommon-compose.h>
#include <xkbcommon/xkbcommon-keysyms.h>
#include <xkbcommon/xkbcommon-x11.h>

#include "lib/base/error.hpp"

namespace lucid::desktop {
namespace {

constexpr std::uint16_t kControl = 4;

// The part all XKB events share; the type stands where others keep a detail.
struct XkbAnyEvent {
  std::uint8_t response_type, xkb_type;
  std::uint16_t sequence;
  std::uint32_t time;
  std::uint8_t device;
};

std::string compose_locale() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"})
    if (const char* value = std::getenv(name); value && *value && std::string_view(value) != "C" && std::string_view(value) != "POSIX")
      return value;
  return "en_US.UTF-8";  // its table has the dead keys of all Latin layouts
}

void ignore_log(xkb_context*, xkb_log_level, const char*, va_list) {}

}  // namespace

Keyboard::Keyboard(Connection& connection) : connection_(connection) {
  std::uint8_t error_base = 0;
  if (!xkb_x11_setup_xkb_extension(connection_.raw(), XKB_X11_MIN_MAJOR_XKB_VERSION, XKB_X11_MIN_MINOR_XKB_VERSION,
                                   XKB_X11_SETUP_XKB_EXTENSION_NO_FLAGS, nullptr, nullptr, &event_base_, &error_base))
    throw Error(ErrorKind::unavailable, "display_unavailable",
                "open display " + connection_.name() + ": the X server lacks the XKEYBOARD extension, which recording keys needs");
  context_ = xkb_context_new(XKB_CONTEXT_NO_FLAGS);
  if (context_) xkb_context_set_log_fn(context_, ignore_log);
  device_ = xkb_x11_get_core_keyboard_device_id(connection_.raw());
  if (!context_ || device_ < 0 || !load_keymap())
    throw Error(ErrorKind::unavailable, "display_unavailable",
                "open display " + connection_.name() + ": its keyboard layout cannot be read");
  compose_table_ = xkb_compose_table_new_from_locale(context_, compose_locale().c_str(), XKB_COMPOSE_COMPILE_NO_FLAGS);
  if (compose_table_) compose_state_ = xkb_compose_state_new(compose_table_, XKB_COMPOSE_STATE_NO_FLAGS);

  constexpr std::uint16_t kEvents =
      XCB_XKB_EVENT_TYPE_NEW_KEYBOARD_NOTIFY | XCB_XKB_EVENT_TYPE_MAP_NOTIFY | XCB_XKB_EVENT_TYPE_STATE_NOTIFY;
  constexpr std::uint16_t kMapParts = XCB_XKB_MAP_PART_KEY_TYPES | XCB_XKB_MAP_PART_KEY_SYMS | XCB_XKB_MAP_PART_MODIFIER_MAP |
                                      XCB_XKB_MAP_PART_EXPLICIT_COMPONENTS | XCB_XKB_MAP_PART_KEY_ACTIONS | XCB_XKB_MAP_PART_VIRTUAL_MODS |
                                      XCB_XKB_MAP_PART_VIRTUAL_MOD_MAP;
  xcb_xkb_select_events(connection_.raw(), XCB_XKB_ID_USE_CORE_KBD, kEvents, 0, kEvents, kMapParts, kMapParts, nullptr);
}

Keyboard::~Keyboard() {
  xkb_compose_state_unref(compose_state_);
  xkb_compose_table_unref(compose_table_);
  xkb_state_unref(state_);
  xkb_keymap_unref(keymap_);
  xkb_context_unref(context_);
}

bool Keyboard::load_keymap() {
  if (connection_.lost()) return false;
  xkb_keymap* keymap = xkb_x11_keymap_new_from_device(context_, connection_.raw(), device_, XKB_KEYMAP_COMPILE_NO_FLAGS);
  if (!keymap) return false;
  xkb_state* state = xkb_x11_state_new_from_device(keymap, connection_.raw(), device_);
  if (!state) {
    xkb_keymap_unref(keymap);
    return false;
  }
  xkb_state_unref(state_);
  xkb_keymap_unref(keymap_);
  keymap_ = keymap;
  state_ = state;
  return true;
}

bool Keyboard::handle(const void* raw) {
  auto type = static_cast<const xcb_generic_event_t*>(raw)->response_type & 0x7f;
  if (type == XCB_MAPPING_NOTIFY) return true;  // XKB tells the same
  if (type != event_base_) return false;
  auto* any = static_cast<const XkbAnyEvent*>(raw);
  if (any->device != device_) return true;
  switch (any->xkb_type) {
    case XCB_XKB_STATE_NOTIFY: {
      auto* event = static_cast<const xcb_xkb_state_notify_event_t*>(raw);
      xkb_state_update_mask(state_, event->baseMods, event->latchedMods, event->lockedMods,
                            static_cast<xkb_layout_index_t>(event->baseGroup), static_cast<xkb_layout_index_t>(event->latchedGroup),
                            event->lockedGroup);
      break;
    }
    case XCB_XKB_NEW_KEYBOARD_NOTIFY:
    case XCB_XKB_MAP_NOTIFY: load_keymap(); break;
    default: break;
  }
  return true;
}

// Feeds dead keys and compose sequences: the keys that only lead up to a character have no text, the last one has it all.
void Keyboard::compose(KeyEvent& event) {
  if (!compose_state_ || xkb_compose_state_feed(compose_state_, event.keysym) != XKB_COMPOSE_FEED_ACCEPTED) return;
  char text[64];
  switch (xkb_compose_state_get_status(compose_state_)) {
    case XKB_COMPOSE_COMPOSED:
      xkb_compose_state_get_utf8(compose_state_, text, sizeof text);
      event.text = text;
      xkb_compose_state_reset(compose_state_);
      break;
    case XKB_COMPOSE_CANCELLED:
      xkb_compose_state_reset(compose_state_);
      event.text.clear();
      break;
    case XKB_COMPOSE_COMPOSING: event.text.clear(); break;
    case XKB_COMPOSE_NOTHING: break;
  }
}

KeyEvent Keyboard::key(std::uint32_t keycode, bool pressed) {
  KeyEvent event;
  event.keysym = xkb_state_key_get_one_sym(state_, keycode);
  event.modifiers = static_cast<std::uint16_t>(xkb_state_serialize_mods(state_, XKB_STATE_MODS_EFFECTIVE) & 0xff);
  if (!pressed) {
    event.action = KeyAction::release;
    down_.erase(keycode);
    return event;
  }
  // A real keyboard repeats without releasing; the server passes such presses on.
  event.action = down_.insert(keycode).second ? KeyAction::press : KeyAction::repeat;
  char text[64];
  if ((event.modifiers & kControl) == 0 && xkb_state_key_get_utf8(state_, keycode, text, sizeof text) > 0) event.text = text;
  compose(event);
  auto first = event.text.empty() ? 0 : static_cast<unsigned char>(event.text[0]);
  if (first < 0x20 || first == 0x7f) event.text.clear();
  return event;
}

}  // namespace lucid::desktop
