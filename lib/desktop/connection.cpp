#include "lib/desktop/connection.hpp"

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <xcb/xcb.h>
#include <xcb/xcbext.h>

#include "lib/base/error.hpp"
#include "lib/base/file_ops.hpp"
#include "lib/desktop/xauthority.hpp"

namespace lucid::desktop {
namespace {

constexpr std::int64_t kAnswerWithinMs = 5000;
constexpr std::int64_t kTimeMaxAgeMs = 10'000;
constexpr std::size_t kMaxAtomsKept = 4096;

[[noreturn]] void unavailable(const std::string& display, const std::string& why) {
  throw Error(ErrorKind::unavailable, "display_unavailable", "open display " + display + ": " + why);
}

AuthHost auth_host(const DisplayName& name) {
  AuthHost host;
  char hostname[256] = {};
  ::gethostname(hostname, sizeof hostname - 1);
  host.hostname = hostname;
  host.local = name.host.empty();
  if (host.local) return host;
  addrinfo* list = nullptr;
  if (::getaddrinfo(name.host.c_str(), nullptr, nullptr, &list) != 0) return host;
  for (addrinfo* a = list; a; a = a->ai_next) {
    if (a->ai_family == AF_INET) {
      auto* in = reinterpret_cast<sockaddr_in*>(a->ai_addr);
      std::string bytes(reinterpret_cast<char*>(&in->sin_addr), 4);
      host.local = host.local || bytes[0] == 127;  // forwarded displays are filed under the machine's own name
      host.addresses.push_back(std::move(bytes));
    } else if (a->ai_family == AF_INET6) {
      auto* in = reinterpret_cast<sockaddr_in6*>(a->ai_addr);
      host.local = host.local || IN6_IS_ADDR_LOOPBACK(&in->sin6_addr);
      host.addresses.emplace_back(reinterpret_cast<char*>(&in->sin6_addr), 16);
    }
  }
  ::freeaddrinfo(list);
  return host;
}

// libxcb answers the same for a refused cookie and for no server at all; a person needs to know which.
bool local_server_listens(int number) {
  std::string path = "/tmp/.X11-unix/X" + std::to_string(number);
  for (bool is_abstract : {true, false}) {
    File socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path + (is_abstract ? 1 : 0), sizeof address.sun_path - 2);
    auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
    if (socket && ::connect(socket.fd(), reinterpret_cast<sockaddr*>(&address), length) == 0) return true;
  }
  return false;
}

const char* connection_error(int code) {
  switch (code) {
    case XCB_CONN_ERROR: return "the X server closed the connection";
    case XCB_CONN_CLOSED_EXT_NOTSUPPORTED: return "an X extension is missing";
    case XCB_CONN_CLOSED_MEM_INSUFFICIENT: return "out of memory talking to the X server";
    case XCB_CONN_CLOSED_REQ_LEN_EXCEED: return "a request was too long for the X server";
    case XCB_CONN_CLOSED_PARSE_ERR: return "the display name cannot be parsed";
    case XCB_CONN_CLOSED_INVALID_SCREEN: return "the display has no such screen";
    default: return "the connection to the X server broke";
  }
}

}  // namespace

Connection::Connection(const std::string& display, const std::string& xauthority, const Clock& clock) : clock_(clock), name_(display) {
  auto name = parse_display_name(display);
  if (!name) unavailable(display, name.error().what());
  local_ = name->host.empty();

  std::optional<AuthCookie> cookie;
  if (!xauthority.empty()) {
    try {
      Bytes file = system_files().read_file(xauthority, 1 << 20);
      auto found = find_cookie(file, name->number, auth_host(*name));
      if (!found) unavailable(display, std::string(found.error().what()) + " (" + xauthority + ")");
      cookie = std::move(*found);
    } catch (const Error& error) {
      if (error.code() == "display_unavailable") throw;
      unavailable(display, std::string("cannot read its authority file: ") + error.what());
    }
  }
  // An empty cookie, not a null pointer: null would send libxcb to the environment.
  xcb_auth_info_t auth{};
  if (cookie) {
    auth.name = cookie->name.data();
    auth.namelen = static_cast<int>(cookie->name.size());
    auth.data = reinterpret_cast<char*>(cookie->data.data());
    auth.datalen = static_cast<int>(cookie->data.size());
  }
  bool own_file = !xauthority.empty();
  connection_ = xcb_connect_to_display_with_auth_info(display.c_str(), own_file ? &auth : nullptr, &screen_);
  if (int code = xcb_connection_has_error(connection_)) {
    xcb_disconnect(connection_);
    if (code != XCB_CONN_ERROR) unavailable(display, connection_error(code));
    if (local_ && local_server_listens(name->number))
      unavailable(display, !own_file ? "the X server refused us: name its Xauthority file"
                           : cookie  ? "the X server refused the cookie in " + xauthority
                                     : "the X server refused us: " + xauthority + " holds no cookie for this display");
    unavailable(display, local_ ? "no X server listens there" : "no X server answered there or it refused the cookie");
  }
  xcb_screen_iterator_t screens = xcb_setup_roots_iterator(xcb_get_setup(connection_));
  for (int i = 0; i < screen_ && screens.rem > 1; ++i) xcb_screen_next(&screens);
  root_ = screens.data->root;

  own_window_ = xcb_generate_id(connection_);
  const std::uint32_t values[] = {1, XCB_EVENT_MASK_PROPERTY_CHANGE};
  xcb_create_window(connection_, 0, own_window_, root_, -10, -10, 1, 1, 0, XCB_WINDOW_CLASS_INPUT_ONLY, XCB_COPY_FROM_PARENT,
                    XCB_CW_OVERRIDE_REDIRECT | XCB_CW_EVENT_MASK, values);
  time_property_ = atom("_LUCID_TIME");
}

Connection::~Connection() { xcb_disconnect(connection_); }

Extension Connection::extension(xcb_extension_t* id, const char* name, bool needed) {
  const xcb_query_extension_reply_t* data = xcb_get_extension_data(connection_, id);
  if (!data || !data->present) {
    if (needed) unavailable(name_, std::string("the X server lacks the ") + name + " extension, which recording needs");
    return {};
  }
  return {true, data->major_opcode, data->first_event, data->first_error};
}

void Connection::give_up(std::string reason) {
  if (lost_reason_.empty()) lost_reason_ = std::move(reason);
}

bool Connection::lost() {
  if (lost_reason_.empty())
    if (int code = xcb_connection_has_error(connection_)) give_up(connection_error(code));
  return !lost_reason_.empty();
}

void Connection::flush() {
  if (!lost()) xcb_flush(connection_);
}

void* Connection::wait_reply(unsigned sequence, std::uint8_t* error_code) {
  if (error_code) *error_code = 0;
  if (lost()) return nullptr;
  xcb_flush(connection_);
  std::int64_t until = clock_.steady_ms() + kAnswerWithinMs;
  for (;;) {
    void* reply = nullptr;
    xcb_generic_error_t* raw_error = nullptr;
    if (xcb_poll_for_reply(connection_, sequence, &reply, &raw_error)) {
      Owned<xcb_generic_error_t> error(raw_error);
      if (error && error_code) *error_code = error->error_code;
      if (!reply) lost();
      return reply;
    }
    if (lost()) return nullptr;
    std::int64_t left = until - clock_.steady_ms();
    if (left <= 0) {
      give_up("the X server did not answer for 5 seconds");
      return nullptr;
    }
    pollfd fd{xcb_get_file_descriptor(connection_), POLLIN, 0};
    ::poll(&fd, 1, static_cast<int>(left));
  }
}

std::uint8_t Connection::check_request(unsigned sequence) {
  // A checked request without reply is answered when a later round trip is: one is sent, then the error is there or not.
  if (lost()) return 255;
  auto cookie = xcb_get_input_focus(connection_);
  wait<xcb_get_input_focus_reply_t>(cookie);
  if (lost()) return 255;
  Owned<xcb_generic_error_t> error(xcb_request_check(connection_, xcb_void_cookie_t{sequence}));
  return error ? error->error_code : 0;
}

Owned<void> Connection::next_event() {
  if (!lost_reason_.empty()) return nullptr;
  Owned<void> event(xcb_poll_for_event(connection_));
  if (!event) lost();
  return event;
}

std::uint32_t Connection::atom(std::string_view name) {
  auto known = atoms_.find(std::string(name));
  if (known != atoms_.end()) return known->second;
  auto reply = wait<xcb_intern_atom_reply_t>(xcb_intern_atom(connection_, 0, static_cast<std::uint16_t>(name.size()), name.data()));
  if (!reply) return XCB_ATOM_NONE;
  return atoms_[std::string(name)] = reply->atom;
}

std::vector<std::string> Connection::atom_names(const std::vector<std::uint32_t>& atoms) {
  if (atom_names_.size() > kMaxAtomsKept) atom_names_.clear();
  std::vector<xcb_get_atom_name_cookie_t> cookies(atoms.size());
  for (std::size_t i = 0; i < atoms.size(); ++i)
    if (!atom_names_.contains(atoms[i])) cookies[i] = xcb_get_atom_name(connection_, atoms[i]);
  std::vector<std::string> names;
  for (std::size_t i = 0; i < atoms.size(); ++i) {
    if (cookies[i].sequence != 0) {
      auto reply = wait<xcb_get_atom_name_reply_t>(cookies[i]);
      std::string text;
      if (reply) text.assign(xcb_get_atom_name_name(reply.get()), static_cast<std::size_t>(xcb_get_atom_name_name_length(reply.get())));
      atom_names_[atoms[i]] = to_utf8(text, 256);
    }
    names.push_back(atom_names_[atoms[i]]);
  }
  return names;
}

void Connection::request_time() {
  if (time_pending_ || lost()) return;
  // Appending nothing still makes the server stamp a PropertyNotify.
  xcb_change_property(connection_, XCB_PROP_MODE_APPEND, own_window_, time_property_, XCB_ATOM_INTEGER, 32, 0, nullptr);
  xcb_flush(connection_);
  time_asked_ = clock_.steady_ms();
  time_pending_ = true;
}

bool Connection::handle_time(std::uint32_t window, std::uint32_t property, std::uint32_t timestamp) {
  if (window != own_window_ || property != time_property_) return false;
  time_pending_ = false;
  server_clock_.bound(time_asked_, timestamp, clock_.steady_ms());
  return true;
}

void Connection::refresh_time() {
  if (clock_.steady_ms() - time_asked_ > kTimeMaxAgeMs) request_time();
}

}  // namespace lucid::desktop
