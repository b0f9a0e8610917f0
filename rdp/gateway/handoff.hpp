// What a gateway hands to its successor, and how: a Unix socket of whole messages (SOCK_SEQPACKET), each one JSON object with its file
// descriptors attached (SCM_RIGHTS). Both ends check that the other is the same user (SO_PEERCRED).
//
//   successor → predecessor   {"type":"hand_over","version":1}
//   predecessor → successor   {"type":"listener"} [fd]                 absent when draining
//                             {"type":"link",…} [client, upstream, pipes with bytes under way]   one a connection
//                             {"type":"report",…}  {"type":"ban",…}    zero or more
//                             {"type":"end","links":n}
//   successor → predecessor   {"type":"taken"}   from here on the successor owns the sockets; before, nothing has changed for either
//   the predecessor closes its copies, ends, and the connection ends with it
//
// Blocking with a deadline a message; one thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/file_ops.hpp"
#include "lib/base/id.hpp"
#include "lib/contracts/controller.hpp"
#include "rdp/gateway/guard.hpp"

namespace lucid::gateway {

inline constexpr std::int64_t kHandOverVersion = 1;

// One direction as handed over; the pipe's ends come along when bytes are in it.
struct HandedFlow {
  std::uint64_t bytes = 0, waiting = 0;
  bool source_ended = false, finished = false;
  std::shared_ptr<File> pipe_read, pipe_write;
};
// A relay, or a client still sending its first packet (then `upstream` is empty and `head` is what it sent so far).
struct HandedLink {
  Id id, session;
  std::string client_address, key;
  std::int64_t opened_wall_ms = 0, last_up_wall_ms = 0;
  bool frozen = false;
  HandedFlow up, down;
  Bytes head;
  std::shared_ptr<File> client, upstream;
};
struct Handed {
  std::shared_ptr<File> listener;
  std::vector<HandedLink> links;
  std::vector<contracts::ConnectionReport> reports;
  std::vector<Ban> bans;
};

struct Message {
  json::object body;
  std::vector<std::shared_ptr<File>> files;
};
// Throw Error{unavailable} when the other side is gone, slow, or another user; Error{malformed} for anything not agreed above.
void send_message(const File& socket, const json::object& body, const std::vector<int>& files = {});
Message receive_message(const File& socket);
void set_deadlines(const File& socket);
void check_same_user(const File& socket);
int peer_process(const File& socket);

void send_handed(const File& socket, const Handed& handed);
Handed receive_handed(const File& socket);

// Where successors ask. The path's directory must exist; a socket left by a crash is replaced. Long paths are fine.
File listen_for_successor(const std::string& path);
// nullopt when nobody lives behind the path.
std::optional<File> connect_to_predecessor(const std::string& path);

// False when the other end of the hand-over still lives after `patience`.
bool wait_for_end(const File& socket, std::chrono::milliseconds patience);

// A second descriptor of the same open file.
std::shared_ptr<File> duplicate(const File& file);

}  // namespace lucid::gateway
