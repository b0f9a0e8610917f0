// The RDP door: listens, and owns the loops, the limits, the admissions and the reports. One object a process (tests: several). Public
// calls are for any thread and short; start() and the destructor for one thread.
//
// A restart loses no session: while a gateway runs, it offers DIRECTORY/handoff.sock; the next one's start() takes the listening socket and
// every live connection over from it (handoff.hpp). A kill drops the connections, and the next start reports their ends (reporter.hpp).
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "lib/base/random.hpp"
#include "lib/contracts/gateway.hpp"
#include "lib/runtime/exposure.hpp"
#include "rdp/gateway/handoff.hpp"
#include "rdp/gateway/loop.hpp"

namespace lucid::gateway {

// The session controller as the gateway sees it; both block and throw Error.
struct Controller {
  std::function<contracts::Admission(const contracts::AdmissionRequest&)> admit;
  std::function<void(const contracts::ConnectionReport&)> report;
};

struct Machine {  // what a gateway is built on
  const Clock& clock;
  RandomSource& random;
  FileOps& files;
  runtime::Metrics& metrics;
};

class Gateway {
 public:
  Gateway(Config config, Controller controller, std::string directory, Machine machine);
  // Connections that are left end with cause gateway_stopped.
  ~Gateway();

  // Takes over from a living predecessor or opens the port: Error{unavailable, "address_in_use"} naming it. Answers a socket that reports
  // the end of the predecessor's process when there was one.
  std::optional<File> start();
  // Lets a successor take over. `handed_over` is called once it has everything: this gateway then carries nothing any more.
  void offer_hand_over(std::function<void()> handed_over);
  std::uint16_t port() const { return port_; }

  std::vector<contracts::Connection> connections();
  // Error{not_found, "connection_not_found"}.
  void freeze(const Id& connection);
  void resume(const Id& connection);
  void kill(const Id& connection, const std::string& cause);
  void drain();
  bool draining() const { return draining_; }
  std::vector<Ban> bans() const { return guard_.bans(clock_.wall_ms()); }
  bool lift_ban(const std::string& address);
  void flush_reports(std::chrono::milliseconds grace) { reporter_.flush(grace); }
  std::size_t waiting_reports() const { return reporter_.waiting(); }

 private:
  void update_gauges();
  void raise_descriptor_limit();
  void open_port();
  void accept_clients();
  void welcome(File socket, const sockaddr_storage& address);
  void turn_away(File socket, Refusal refusal);
  Loop& lightest();
  void command(const Id& connection, const std::function<void(Link&)>& act);
  void adopt(Handed handed);
  void stop_listening();
  void run_hand_over();
  void hand_over(const File& socket);
  Handed stand_still();
  void move_again();

  const runtime::Log log_;
  Config config_;
  const std::string directory_;
  const Clock& clock_;
  RandomSource& random_;
  Guard guard_;
  Reporter reporter_;
  Counters counters_;
  Busy busy_;
  Surroundings around_;
  File listener_, spare_, successor_door_, stop_door_;
  std::atomic<std::uint16_t> port_ = 0;
  std::atomic<bool> draining_ = false, handing_over_ = false, handed_over_ = false;
  std::function<void()> when_handed_over_;
  std::vector<std::unique_ptr<Loop>> loops_;
  std::unique_ptr<Admissions> admissions_;  // its threads post to the loops: ends before them
  std::thread hand_over_thread_;
  std::optional<runtime::Exposure> exposure_;
};

}  // namespace lucid::gateway
