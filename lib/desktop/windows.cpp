#include "lib/desktop/windows.hpp"

#include <algorithm>

#include <xcb/res.h>
#include <xcb/xcb.h>

#include "lib/desktop/text.hpp"

namespace lucid::desktop {
namespace {

constexpr std::uint32_t kMaxClients = 4096;
constexpr std::size_t kMaxTops = 16384, kMaxHints = 32;
constexpr std::size_t kMaxTitle = 1024, kMaxText = 4096;
constexpr std::int64_t kDetailsEveryMs = 100;
constexpr int kMaxDepth = 32;  // of the window tree when climbing from the focus to a client

std::string_view value_of(const xcb_get_property_reply_t* reply) {
  if (!reply || reply->format != 8) return {};
  return {static_cast<const char*>(xcb_get_property_value(reply)), static_cast<std::size_t>(xcb_get_property_value_length(reply))};
}

std::string text_of(const xcb_get_property_reply_t* reply, std::size_t max_bytes) {
  std::string_view value = value_of(reply);
  value = value.substr(0, value.find('\0'));
  return reply && reply->type == XCB_ATOM_STRING ? to_utf8(latin1_to_utf8(value), max_bytes) : to_utf8(value, max_bytes);
}

std::string class_of(const xcb_get_property_reply_t* reply) {
  std::string_view value = value_of(reply);
  std::size_t end = value.find('\0');
  if (end == value.npos) return to_utf8(latin1_to_utf8(value), kMaxText);
  std::string_view instance = value.substr(0, end), name = value.substr(end + 1);
  name = name.substr(0, name.find('\0'));
  return to_utf8(latin1_to_utf8(instance) + "." + latin1_to_utf8(name), kMaxText);
}

}  // namespace

Windows::Windows(Connection& connection, std::function<void(DesktopEvent)> emit) : connection_(connection), emit_(std::move(emit)) {
  xcb_connection_t* c = connection_.raw();
  if (connection_.extension(&xcb_res_id, "X-Resource", false).present) {
    auto version = connection_.wait<xcb_res_query_version_reply_t>(xcb_res_query_version(c, 1, 2));
    resources_ = version && (version->server_major > 1 || version->server_minor >= 2);
  }
  atoms_ = {connection_.atom("_NET_CLIENT_LIST"), connection_.atom("_NET_ACTIVE_WINDOW"), connection_.atom("_NET_SUPPORTING_WM_CHECK"),
            connection_.atom("_NET_WM_NAME"),     connection_.atom("_NET_WM_PID"),        connection_.atom("UTF8_STRING")};
  read_tree();
  list_changed_at_ = active_changed_at_ = connection_.clock().steady_ms();
}

void Windows::add_top(std::uint32_t window, Rect area, bool unmanaged, bool mapped) {
  if (tops_.size() >= kMaxTops || window == connection_.own_window()) return;
  Top top;
  top.now = top.seen = area;
  top.mapped = top.seen_valid = mapped;
  top.unmanaged = unmanaged;
  tops_[window] = std::move(top);
}

void Windows::read_tree() {
  xcb_connection_t* c = connection_.raw();
  auto tree = connection_.wait<xcb_query_tree_reply_t>(xcb_query_tree(c, connection_.root()));
  if (!tree) return;
  const xcb_window_t* children = xcb_query_tree_children(tree.get());
  int count = xcb_query_tree_children_length(tree.get());
  std::vector<std::pair<xcb_get_geometry_cookie_t, xcb_get_window_attributes_cookie_t>> cookies;
  for (int i = 0; i < count; ++i) cookies.emplace_back(xcb_get_geometry(c, children[i]), xcb_get_window_attributes(c, children[i]));
  for (int i = 0; i < count; ++i) {
    auto area = connection_.wait<xcb_get_geometry_reply_t>(cookies[static_cast<std::size_t>(i)].first);
    auto attributes = connection_.wait<xcb_get_window_attributes_reply_t>(cookies[static_cast<std::size_t>(i)].second);
    if (!area || !attributes) continue;
    add_top(children[i], {area->x, area->y, area->width + 2 * area->border_width, area->height + 2 * area->border_width},
            attributes->override_redirect != 0, attributes->map_state == XCB_MAP_STATE_VIEWABLE);
  }
}

void Windows::moved(std::uint32_t window, Top& top) {
  if (moved_.insert(window).second && top.seen_valid == top.mapped && top.seen == top.now) moved_.erase(window);
}

bool Windows::handle(const void* raw) {
  auto type = static_cast<const xcb_generic_event_t*>(raw)->response_type & 0x7f;
  std::int64_t now = connection_.clock().steady_ms();
  auto list_changed = [&] {
    if (managed_) return;  // the manager's list counts
    list_stale_ = true;
    list_changed_at_ = now;
  };
  switch (type) {
    case XCB_CREATE_NOTIFY: {
      auto* e = static_cast<const xcb_create_notify_event_t*>(raw);
      if (e->parent == connection_.root())
        add_top(e->window, {e->x, e->y, e->width + 2 * e->border_width, e->height + 2 * e->border_width}, e->override_redirect != 0, false);
      return true;
    }
    case XCB_DESTROY_NOTIFY: {
      auto* e = static_cast<const xcb_destroy_notify_event_t*>(raw);
      if (e->window == check_window_) {  // the window manager died
        manager_stale_ = list_stale_ = active_stale_ = true;
        list_changed_at_ = active_changed_at_ = now;
      }
      if (auto top = tops_.find(e->window); top != tops_.end()) {
        if (top->second.facts) ++receivers_version_;
        tops_.erase(top);
        moved_.erase(e->window);
        list_changed();
      }
      return true;
    }
    case XCB_REPARENT_NOTIFY: {
      auto* e = static_cast<const xcb_reparent_notify_event_t*>(raw);
      if (e->event != connection_.root()) return true;
      if (e->parent != connection_.root()) {
        tops_.erase(e->window);
        moved_.erase(e->window);
      } else if (!tops_.contains(e->window)) {
        add_top(e->window, {e->x, e->y, 0, 0}, e->override_redirect != 0, false);  // its next ConfigureNotify tells the size
      }
      list_changed();
      return true;
    }
    case XCB_MAP_NOTIFY:
    case XCB_UNMAP_NOTIFY: {
      // Both events begin alike.
      auto* e = static_cast<const xcb_map_notify_event_t*>(raw);
      if (e->event != connection_.root()) return true;
      auto top = tops_.find(e->window);
      if (top == tops_.end()) return true;
      top->second.mapped = type == XCB_MAP_NOTIFY;
      moved(e->window, top->second);
      if (type == XCB_MAP_NOTIFY && e->override_redirect) {
        top->second.unmanaged = true;
        unmanaged_stale_ = true;
      } else if (top->second.facts) {
        top->second.facts.reset();
        ++receivers_version_;
      }
      list_changed();
      active_stale_ = true;
      active_changed_at_ = now;
      return true;
    }
    case XCB_CONFIGURE_NOTIFY: {
      auto* e = static_cast<const xcb_configure_notify_event_t*>(raw);
      if (auto top = tops_.find(e->window); top != tops_.end()) {
        top->second.now = {e->x, e->y, e->width + 2 * e->border_width, e->height + 2 * e->border_width};
        moved(e->window, top->second);
      }
      if (auto client = clients_.find(e->window); client != clients_.end()) {
        client->second.stale = details_stale_ = true;
        client->second.changed_at = now;
      }
      return true;
    }
    case XCB_FOCUS_IN:
    case XCB_FOCUS_OUT:
      active_stale_ = true;
      active_changed_at_ = now;
      return true;
    case XCB_PROPERTY_NOTIFY: {
      auto* e = static_cast<const xcb_property_notify_event_t*>(raw);
      std::int64_t at = connection_.server_clock().to_steady(e->time, now);
      if (e->window == connection_.root()) {
        if (e->atom == atoms_.client_list || e->atom == atoms_.wm_check) {
          list_stale_ = active_stale_ = true;
          manager_stale_ = manager_stale_ || e->atom == atoms_.wm_check || !managed_;
          list_changed_at_ = active_changed_at_ = at;
        } else if (e->atom == atoms_.active) {
          active_stale_ = true;
          active_changed_at_ = at;
        }
        return true;
      }
      bool told = e->atom == atoms_.name || e->atom == XCB_ATOM_WM_NAME || e->atom == XCB_ATOM_WM_CLASS || e->atom == atoms_.pid;
      if (auto client = clients_.find(e->window); told && client != clients_.end()) {
        client->second.stale = details_stale_ = true;
        client->second.changed_at = at;
      }
      return true;
    }
    default: return false;
  }
}

void Windows::handle_sent(const void* raw) {
  auto* e = static_cast<const xcb_configure_notify_event_t*>(raw);
  if ((e->response_type & 0x7f) != XCB_CONFIGURE_NOTIFY) return;
  auto client = clients_.find(e->window);
  if (client == clients_.end()) return;
  client->second.stale = details_stale_ = true;
  client->second.changed_at = connection_.clock().steady_ms();
}

std::vector<std::uint32_t> Windows::window_list(std::uint32_t window, std::uint32_t property, std::uint32_t limit) {
  auto reply =
      connection_.wait<xcb_get_property_reply_t>(xcb_get_property(connection_.raw(), 0, window, property, XCB_ATOM_WINDOW, 0, limit));
  if (!reply || reply->format != 32) return {};
  auto* values = static_cast<const std::uint32_t*>(xcb_get_property_value(reply.get()));
  return {values, values + xcb_get_property_value_length(reply.get()) / 4};
}

// A window manager is there when its check window names itself: the properties alone outlive a crashed one.
bool Windows::managed() {
  auto check = window_list(connection_.root(), atoms_.wm_check, 1);
  check_window_ = check.empty() ? 0 : check[0];
  if (check_window_ == 0) return false;
  auto again = window_list(check[0], atoms_.wm_check, 1);
  return !again.empty() && again[0] == check[0];
}

std::vector<std::optional<Windows::Details>> Windows::look_up(const std::vector<std::uint32_t>& windows) {
  xcb_connection_t* c = connection_.raw();
  struct Cookies {
    xcb_get_property_cookie_t name, old_name, wm_class, pid;
    xcb_get_geometry_cookie_t geometry;
    xcb_translate_coordinates_cookie_t place;
    xcb_res_query_client_ids_cookie_t ids;
  };
  std::vector<Cookies> cookies;
  for (std::uint32_t window : windows) {
    Cookies k{};
    k.name = xcb_get_property(c, 0, window, atoms_.name, XCB_GET_PROPERTY_TYPE_ANY, 0, kMaxTitle / 4);
    k.old_name = xcb_get_property(c, 0, window, XCB_ATOM_WM_NAME, XCB_GET_PROPERTY_TYPE_ANY, 0, kMaxTitle / 4);
    k.wm_class = xcb_get_property(c, 0, window, XCB_ATOM_WM_CLASS, XCB_GET_PROPERTY_TYPE_ANY, 0, kMaxText / 4);
    k.pid = xcb_get_property(c, 0, window, atoms_.pid, XCB_ATOM_CARDINAL, 0, 1);
    k.geometry = xcb_get_geometry(c, window);
    k.place = xcb_translate_coordinates(c, window, connection_.root(), 0, 0);
    xcb_res_client_id_spec_t spec{window, XCB_RES_CLIENT_ID_MASK_LOCAL_CLIENT_PID};
    if (resources_) k.ids = xcb_res_query_client_ids(c, 1, &spec);
    cookies.push_back(k);
  }
  std::vector<std::optional<Details>> found;
  for (const Cookies& k : cookies) {
    auto name = connection_.wait<xcb_get_property_reply_t>(k.name);
    auto old_name = connection_.wait<xcb_get_property_reply_t>(k.old_name);
    auto wm_class = connection_.wait<xcb_get_property_reply_t>(k.wm_class);
    auto pid = connection_.wait<xcb_get_property_reply_t>(k.pid);
    auto geometry = connection_.wait<xcb_get_geometry_reply_t>(k.geometry);
    auto place = connection_.wait<xcb_translate_coordinates_reply_t>(k.place);
    Details details;
    if (resources_)
      if (auto ids = connection_.wait<xcb_res_query_client_ids_reply_t>(k.ids))
        for (auto i = xcb_res_query_client_ids_ids_iterator(ids.get()); i.rem; xcb_res_client_id_value_next(&i))
          if ((i.data->spec.mask & XCB_RES_CLIENT_ID_MASK_LOCAL_CLIENT_PID) && xcb_res_client_id_value_value_length(i.data) > 0)
            details.facts.pid = *xcb_res_client_id_value_value(i.data);
    if (!geometry || !place) {
      found.emplace_back();  // gone meanwhile
      continue;
    }
    // The client's own word counts only where the server has none.
    if (details.facts.pid == 0 && connection_.local() && pid && pid->format == 32 && xcb_get_property_value_length(pid.get()) >= 4)
      details.facts.pid = *static_cast<const std::uint32_t*>(xcb_get_property_value(pid.get()));
    details.facts.title = text_of(name.get(), kMaxTitle);
    if (details.facts.title.empty()) details.facts.title = text_of(old_name.get(), kMaxTitle);
    details.facts.wm_class = class_of(wm_class.get());
    details.facts.executable = connection_.local() ? ProcFs::executable(details.facts.pid) : std::string();
    details.geometry = {place->dst_x, place->dst_y, geometry->width, geometry->height};
    found.emplace_back(std::move(details));
  }
  return found;
}

void Windows::emit(WindowAction action, std::uint32_t window, const Details& details, std::int64_t at) {
  const WindowFacts& facts = details.facts;
  emit_({at, WindowEvent{action, window, facts.pid, details.geometry, facts.title, facts.wm_class, facts.executable}});
}

void Windows::read_clients() {
  list_stale_ = false;
  if (manager_stale_) {
    managed_ = managed();
    manager_stale_ = false;
  }
  std::vector<std::uint32_t> list;
  if (managed_) {
    list = window_list(connection_.root(), atoms_.client_list, kMaxClients);
  } else {
    for (const auto& [window, top] : tops_)
      if (top.mapped && !top.unmanaged && list.size() < kMaxClients) list.push_back(window);
    std::sort(list.begin(), list.end());
  }
  if (connection_.lost()) return;
  for (auto it = clients_.begin(); it != clients_.end();) {
    if (std::find(list.begin(), list.end(), it->first) != list.end()) {
      ++it;
      continue;
    }
    if (it->second.announced) emit(WindowAction::closed, it->first, it->second.details, list_changed_at_);
    it = clients_.erase(it);
  }
  for (std::uint32_t window : list) {
    if (clients_.contains(window) || window == connection_.own_window()) continue;
    const std::uint32_t mask = XCB_EVENT_MASK_PROPERTY_CHANGE | XCB_EVENT_MASK_STRUCTURE_NOTIFY | XCB_EVENT_MASK_FOCUS_CHANGE;
    xcb_change_window_attributes(connection_.raw(), window, XCB_CW_EVENT_MASK, &mask);
    clients_[window].changed_at = list_changed_at_;
    details_stale_ = true;
  }
  if (details_stale_) details_read_ = 0;  // new windows are looked up at once
}

void Windows::read_details(std::int64_t now) {
  details_stale_ = false;
  details_read_ = now;
  std::vector<std::uint32_t> stale;
  for (auto& [window, client] : clients_)
    if (client.stale) stale.push_back(window);
  std::sort(stale.begin(), stale.end());
  auto found = look_up(stale);
  if (connection_.lost()) return;
  for (std::size_t i = 0; i < stale.size(); ++i) {
    Client& client = clients_[stale[i]];
    client.stale = false;
    if (!found[i]) continue;  // the list will tell
    bool changed = *found[i] != client.details;
    client.details = std::move(*found[i]);
    if (!client.announced)
      emit(WindowAction::created, stale[i], client.details, client.changed_at);
    else if (changed)
      emit(WindowAction::changed, stale[i], client.details, client.changed_at);
    client.announced = true;
    if (stale[i] == active_) ++receivers_version_;
  }
}

void Windows::read_active(std::int64_t now) {
  active_stale_ = false;
  std::uint32_t active = 0;
  xcb_connection_t* c = connection_.raw();
  if (managed_) {
    auto list = window_list(connection_.root(), atoms_.active, 1);
    active = list.empty() ? 0 : list[0];
    focus_follows_pointer_ = false;
  } else {
    auto focus = connection_.wait<xcb_get_input_focus_reply_t>(xcb_get_input_focus(c));
    std::uint32_t window = focus ? focus->focus : 0;
    focus_follows_pointer_ = window == XCB_INPUT_FOCUS_POINTER_ROOT || window == connection_.root();
    if (focus_follows_pointer_) {
      auto pointer = connection_.wait<xcb_query_pointer_reply_t>(xcb_query_pointer(c, connection_.root()));
      window = pointer ? pointer->child : 0;
    }
    for (int depth = 0; window > 1 && depth < kMaxDepth && !clients_.contains(window); ++depth) {
      auto tree = connection_.wait<xcb_query_tree_reply_t>(xcb_query_tree(c, window));
      window = tree ? tree->parent : 0;
    }
    active = clients_.contains(window) ? window : 0;
  }
  if (connection_.lost() || active == active_) return;
  active_ = active;
  ++receivers_version_;
  // The manager may name a window active before it lists it.
  auto client = clients_.find(active);
  active_details_ = {};
  if (client != clients_.end() && client->second.announced)
    active_details_ = client->second.details;
  else if (active != 0)
    if (auto found = look_up({active}); !found.empty() && found[0]) active_details_ = std::move(*found[0]);
  emit(WindowAction::focused, active, active_details_, std::min(active_changed_at_, now));
}

void Windows::read_unmanaged() {
  unmanaged_stale_ = false;
  std::vector<std::uint32_t> windows;
  for (auto& [window, top] : tops_)
    if (top.mapped && top.unmanaged && !top.facts) windows.push_back(window);
  if (windows.empty()) return;
  auto found = look_up(windows);
  for (std::size_t i = 0; i < windows.size(); ++i)
    if (found[i]) tops_[windows[i]].facts = std::move(found[i]->facts);
  ++receivers_version_;
}

bool Windows::refresh(std::int64_t now) {
  if (connection_.lost()) return false;
  bool looked = list_stale_ || active_stale_ || unmanaged_stale_;
  if (list_stale_) read_clients();
  if (details_stale_ && (now - details_read_ >= kDetailsEveryMs || now < details_read_)) {
    read_details(now);
    looked = true;
  }
  if (unmanaged_stale_) read_unmanaged();
  if (active_stale_) read_active(now);
  return looked;
}

std::optional<std::int64_t> Windows::next_deadline() const {
  if (!details_stale_) return std::nullopt;
  return details_read_ + kDetailsEveryMs;
}

void Windows::before_key(std::int64_t now) {
  if (!managed_ && focus_follows_pointer_) {
    active_changed_at_ = now;
    read_active(now);
  }
}

std::vector<WindowFacts> Windows::receivers() const {
  std::vector<WindowFacts> windows;
  auto client = clients_.find(active_);
  if (client != clients_.end() && client->second.announced)
    windows.push_back(client->second.details.facts);
  else if (active_ != 0)
    windows.push_back(active_details_.facts);
  // A remote server's process ids mean nothing on this machine.
  if (!connection_.local() && !windows.empty()) windows.back().pid = 0;
  // Unmanaged windows (screen lockers, pinentry with a grab) get keys without ever being active. Only what they are
  // counts: their processes' terminals do not.
  for (const auto& [window, top] : tops_) {
    if (!top.mapped || !top.facts) continue;
    windows.push_back(*top.facts);
    windows.back().pid = 0;
  }
  return windows;
}

std::vector<MoveHint> Windows::take_hints() {
  std::vector<MoveHint> hints;
  for (std::uint32_t window : moved_) {
    auto it = tops_.find(window);
    if (it == tops_.end()) continue;
    Top& top = it->second;
    bool same_size = top.now.width == top.seen.width && top.now.height == top.seen.height;
    if (top.mapped && top.seen_valid && same_size && top.now != top.seen && hints.size() < kMaxHints)
      hints.push_back({top.seen, top.now.x, top.now.y});
    top.seen = top.now;
    top.seen_valid = top.mapped;
  }
  moved_.clear();
  return hints;
}

WindowFacts Windows::describe(std::uint32_t window) {
  auto found = look_up({window});
  return !found.empty() && found[0] ? found[0]->facts : WindowFacts{};
}

}  // namespace lucid::desktop
