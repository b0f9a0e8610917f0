// The connection to one X server: opened with an explicit cookie, extensions checked by name, every wait bounded. One
// thread, the Display's. A server that dies or does not answer for 5 s makes the connection lost for good; afterwards
// every call answers empty. X types appear here only as forward declarations.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "lib/base/clock.hpp"
#include "lib/desktop/server_clock.hpp"

struct xcb_connection_t;
struct xcb_extension_t;

namespace lucid::desktop {

struct FreeDeleter {
  void operator()(void* memory) const { std::free(memory); }
};
template <class T>
using Owned = std::unique_ptr<T, FreeDeleter>;  // what xcb allocated

// Where an extension's events and errors begin.
struct Extension {
  bool present = false;
  std::uint8_t opcode = 0, first_event = 0, first_error = 0;
};

class Connection {
 public:
  // Throws Error{unavailable, "display_unavailable"}.
  Connection(const std::string& display, const std::string& xauthority, const Clock& clock);
  ~Connection();
  Connection(const Connection&) = delete;

  xcb_connection_t* raw() const { return connection_; }
  std::uint32_t root() const { return root_; }
  // An invisible 1x1 window of ours: clipboard requests and time stamps go through it.
  std::uint32_t own_window() const { return own_window_; }
  const std::string& name() const { return name_; }
  bool local() const { return local_; }
  int screen_number() const { return screen_; }
  const Clock& clock() const { return clock_; }
  ServerClock& server_clock() { return server_clock_; }

  // `purpose` and `name` go into the error when it is missing and `needed`.
  Extension extension(xcb_extension_t* id, const char* name, bool needed);

  // The reply to a request, or null on an X error (its code in `error_code`) or when lost.
  template <class Reply, class Cookie>
  Owned<Reply> wait(Cookie cookie, std::uint8_t* error_code = nullptr) {
    return Owned<Reply>(static_cast<Reply*>(wait_reply(cookie.sequence, error_code)));
  }
  // For a request sent with the _checked form: its X error code, 0 when it worked, 255 when lost.
  template <class Cookie>
  std::uint8_t check(Cookie cookie) {
    return check_request(cookie.sequence);
  }

  // The next event (an xcb_generic_event_t), null when none is there.
  Owned<void> next_event();
  // True once lost; looks at the connection.
  bool lost();
  const std::string& lost_reason() const { return lost_reason_; }
  void flush();

  std::uint32_t atom(std::string_view name);
  // Names of atoms, one round trip; an unknown one is empty.
  std::vector<std::string> atom_names(const std::vector<std::uint32_t>& atoms);
  // Asks the server for its time; the answer is a PropertyNotify that handle_time() takes. Waits only when told to.
  void request_time();
  bool handle_time(std::uint32_t window, std::uint32_t property, std::uint32_t timestamp);
  // Keeps the two clocks together while there is activity: asks again when the last answer is over 10 s old.
  void refresh_time();

 private:
  void* wait_reply(unsigned sequence, std::uint8_t* error_code);
  std::uint8_t check_request(unsigned sequence);
  void give_up(std::string reason);

  const Clock& clock_;
  std::string name_;
  bool local_ = true;
  int screen_ = 0;
  xcb_connection_t* connection_ = nullptr;
  std::uint32_t root_ = 0, own_window_ = 0, time_property_ = 0;
  std::string lost_reason_;
  ServerClock server_clock_;
  std::int64_t time_asked_ = 0;
  bool time_pending_ = false;
  std::unordered_map<std::string, std::uint32_t> atoms_;
  std::unordered_map<std::uint32_t, std::string> atom_names_;
};

}  // namespace lucid::desktop
