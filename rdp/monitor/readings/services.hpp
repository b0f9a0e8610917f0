// Asks our services for what they say of themselves: /metrics and /health of each, and who knows about sessions (server manager, recorder,
// gateway). All are asked at once, with one deadline, so a service that hangs costs its own reading only. Keeps counters for rates. look() is
// called by one thread. Source: Prometheus text exposition format 0.0.4.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lib/base/clock.hpp"
#include "lib/net/client.hpp"
#include "rdp/monitor/readings/processes.hpp"
#include "rdp/monitor/readings/readings.hpp"

namespace lucid::monitor {

// One sample line of an exposition.
struct Sample {
  std::string name;
  std::map<std::string, std::string> labels;
  double value = 0;
};
// Comments are skipped. Error{malformed} naming the line; at most 4 MiB and 100 000 samples.
Expected<std::vector<Sample>> parse_exposition(std::string_view text);

// What the services said in one look.
struct ServiceLook {
  std::vector<Service> services;
  std::vector<Reading> recording;   // recording_*, storage_*, nodes_*, certificate_*: of those that answered
  std::vector<SessionRoots> roots;  // of running RDP servers
  std::vector<Session> sessions;    // one a root, with what recorder and gateway say; CPU, memory and I/O are filled by with_use()
};
class ServiceReader {
 public:
  struct Peer {
    std::string name;
    std::shared_ptr<net::Client> http;
  };
  ServiceReader(std::vector<Peer> peers, const Clock& clock, std::chrono::milliseconds deadline);
  ~ServiceReader();
  ServiceLook look();
  // Puts what its processes use beside what was said of each session, by session id; memory growth is kept here.
  void with_use(std::vector<Session>& sessions, const std::vector<SessionUse>& use);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lucid::monitor
