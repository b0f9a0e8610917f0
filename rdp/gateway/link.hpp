// One client's connection from its first byte to its end:
//
//   request → admission → connecting → confirm → relay → (ended)
//      └──────────┴───────────┴──────────┴─→ refused → (ended)
//
// request: the client's X.224 Connection Request is read, exactly and no further. admission: the controller is asked. connecting, confirm:
// the upstream gets the request as it came and must choose TLS or NLA. relay: bytes pass untouched (relay.hpp). refused: the client is told
// why and has a moment to read it. Lives on its loop's thread; every end leaves through end(), which reports it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "lib/contracts/gateway.hpp"
#include "rdp/gateway/handoff.hpp"
#include "rdp/gateway/loop.hpp"
#include "rdp/gateway/x224.hpp"

namespace lucid::gateway {

struct NewClient {
  Id id;
  File socket;  // non-blocking
  std::string address, key;
};

class Link {
 public:
  Link(Loop& loop, NewClient client);
  Link(Loop& loop, HandedLink handed);
  ~Link();
  Link(const Link&) = delete;
  void begin();  // once the loop has it

  const Id& id() const { return id_; }
  bool ended() const { return phase_ == Phase::ended; }
  bool relays() const { return phase_ == Phase::relay; }
  contracts::Connection describe() const;

  void on_events(Which which, std::uint32_t events);
  void on_deadline();
  void on_decision(Decision decision);
  void go_on();  // moves more bytes

  void freeze() { frozen_ = true; }
  void resume();
  // Both sockets are closed with what is on its way in them; the peers see a reset.
  void kill(const std::string& cause);
  void end(const std::string& cause);

  // The hand-over. stand_still() answers nothing for a connection that cannot be handed over.
  std::optional<HandedLink> stand_still();
  void move_again();  // the successor did not take it
  void give_up();     // it did: only our copies of the descriptors are closed

  // The loop's notes.
  std::optional<std::int64_t> deadline_ms;
  bool queued = false;

 private:
  enum class Phase { request, admission, connecting, confirm, relay, refused, ended };
  void enter(Phase phase);
  void read_request();
  void ask_controller();
  void connect_upstream(const Admitted& admitted);
  void send_request();
  void read_confirm();
  void start_relay();
  void pump_both();
  void refuse(Refusal refusal, const std::string& detail = {});
  void leave();
  enum class Got { all, more, nothing, broken };
  Got read_packet(Side& side);
  void report(const char* event, const std::string& cause) const;
  void wait(std::int64_t ms) { loop_.set_deadline(*this, around_.clock.steady_ms() + ms); }

  Loop& loop_;
  Surroundings& around_;
  const Id id_;
  const std::string address_, key_;
  Phase phase_ = Phase::request;
  Side client_, upstream_;
  Bytes packet_;  // being read
  Bytes head_;    // the client's request
  ConnectionRequest request_;
  std::optional<Id> session_;  // once admitted
  Flow up_, down_;
  bool frozen_ = false, still_ = false;
  const char* first_end_ = nullptr;  // whose direction ended first
  std::int64_t opened_wall_ms_ = 0, last_up_wall_ms_ = 0, began_ms_ = 0, asked_ms_ = 0;
};

}  // namespace lucid::gateway
