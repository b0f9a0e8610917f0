// session-controller's logic: the life of every RDP session. A session's record says how far it is; workers do the one next step
// (record.hpp) and keep the result, so a restart at any moment goes on from there. Bytes never pass through here, and a controller that is
// away changes nothing for live sessions. What a call answers survives power loss: above all a routing token's one use is kept before the
// admission is answered. Live values (bytes of open connections, patience) start anew. Thread-safe. Peers are called without any lock
// held and never from admit() or report(), which the gateway waits for.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>
#include <vector>

#include "lib/base/clock.hpp"
#include "lib/base/random.hpp"
#include "lib/crypto/signature.hpp"
#include "lib/runtime/exposure.hpp"
#include "lib/runtime/log.hpp"
#include "lib/store/documents.hpp"
#include "rdp/controller/config.hpp"
#include "rdp/controller/metrics.hpp"
#include "rdp/controller/peers.hpp"
#include "rdp/controller/record.hpp"

namespace lucid::controller {

class Controller {
 public:
  struct Parts {
    store::Documents& documents;
    const Clock& clock;
    RandomSource& random;
    Peers peers;
    runtime::Metrics& metrics;
    crypto::SigningKey key;  // of routing tokens
  };
  Controller(Config config, Parts parts);
  ~Controller();  // ends the threads; sessions live on
  void open();    // loads what is live and goes on with it

  struct Created {
    contracts::RdpSession session;
    bool created = false;
  };
  // Idempotent by id. Error{conflict, "limit_exceeded" | "session_exists" | "account_in_use"}.
  Created create(const contracts::RdpSessionRequest& request);
  contracts::RdpSession status(const Id& session);  // Error{not_found, "session_not_found"}
  json::value history(const Id& session);
  struct Page {
    std::vector<contracts::RdpSession> sessions;
    std::string next;
  };
  Page list(const std::string& cursor, std::size_t limit);  // newest first
  // pause resume stop terminate; each may be repeated. Error{conflict, "illegal_transition"}. Stop and terminate answer once no byte
  // passes any more, or throw Error{unavailable} when that cannot be known; the session ends in any case.
  contracts::RdpSession act(const Id& session, std::string_view action);
  contracts::ConnectionOffer connection(const Id& session);  // Error{conflict, "session_not_ready"}

  contracts::Admission admit(const contracts::AdmissionRequest& request);  // Error{forbidden, …}
  void report(const contracts::ConnectionReport& report);

  struct Totals {
    std::size_t live = 0, frozen = 0;
    std::string problem;  // which service is away, or empty
  };
  Totals totals();

 private:
  void update_gauges();
  struct Session;
  using SessionPtr = std::shared_ptr<Session>;
  using Change = std::function<void(Record&)>;

  SessionPtr find(const Id& session);  // live ones; null when there is none
  SessionPtr live(const Id& session);  // Error{not_found} or, when it is over, Error{conflict, "session_ended"}
  std::vector<SessionPtr> all();
  std::optional<Record> stored(const Id& session);
  // With s.mutex held: applies `change` to the record, durably, or throws and leaves it as it was.
  void update(Session& s, const Change& change);
  void move(Record& r, Trigger trigger, const std::string& cause = "");
  bool end(Session& s, const std::string& cause, bool failing);  // with s.mutex held; false when it is ending already
  void become_ready(Session& s, Record& r);
  static contracts::RdpSession describe(const Session& s);
  void stop(const SessionPtr& s, const std::string& cause);
  void pause(const SessionPtr& s);
  void resume(const SessionPtr& s);

  // admission.cpp
  contracts::Admission admit_checked(const contracts::AdmissionRequest& request);
  SessionPtr by_token(const contracts::AdmissionRequest& request, std::optional<Id>& token);
  SessionPtr by_account(const contracts::AdmissionRequest& request);
  void opened(Session& s, const Id& connection, const std::string& client_address);  // with s.mutex held
  void closed(Session& s, const Id& connection, std::uint64_t up, std::uint64_t down);

  // driver.cpp: workers that take sessions forward, one worker a session at a time.
  using Delay = std::optional<std::int64_t>;  // milliseconds until the next try; nullopt: nothing to do until woken
  void wake(const Id& session);
  void work_loop();
  Delay advance(const SessionPtr& s, int attempt);
  Delay perform(const SessionPtr& s, Step step);
  Delay failed(const SessionPtr& s, Step step, const Error& error, int attempt);
  void place(Session& s);
  void create_server(Session& s);
  void start_server(Session& s);
  Delay wait_display(Session& s);
  Delay start_recording(Session& s);
  void pause_recording(Session& s);
  void release(Session& s);
  void check_recording(Session& s);
  // ending.cpp
  void kill_connections(Session& s);
  void refuse_desktop(Session& s);
  Delay stop_recording(Session& s);
  void stop_server(Session& s);
  void remove_server(Session& s);
  void release_node(Session& s);
  void finish(Session& s);
  void forget(Session& s);  // it is over: from here on it is only read

  // watch.cpp: what is looked at all the time.
  void start_watching();
  void watch_recorder();
  void watch_gateway();
  void watch_servers();
  void look_at_recorder();
  void look_at_gateway();
  void look_at_limits(Session& s);
  void judge_recording(Session& s, const std::map<Id, contracts::RecorderView>* held, std::uint64_t asked);
  void judge_connections(Session& s, const std::vector<contracts::Connection>& mine, std::uint64_t asked);
  void set_gate(Session& s, const std::vector<contracts::Connection>& mine);
  void set_gate_now(Session& s);  // asks the gateway first; failures are left to the watcher
  void check_server(Session& s, const std::string& event_cause);
  void check_all_servers();
  void let_go_desktops();
  bool rest(std::int64_t ms);  // false when the threads shall end
  void gateway_due();

  const Config config_;
  store::Documents& documents_;
  const Clock& clock_;
  RandomSource& random_;
  Servers& servers_;
  Recordings& recordings_;
  Gateway& gateway_;
  Nodes& nodes_;
  const crypto::SigningKey key_;
  ControllerMetrics metrics_;
  const runtime::Log log_{"session-controller"};

  std::mutex create_mutex_;  // one create at a time, so that limits hold
  std::mutex mutex_;         // guards sessions_
  std::unordered_map<Id, SessionPtr> sessions_;
  std::atomic<std::uint64_t> sequence_{0};  // orders what peers were asked and what changed here meanwhile
  std::atomic<bool> servers_away_{false}, recorder_away_{false}, gateway_away_{false};
  std::atomic<bool> recorder_seen_{false};
  std::int64_t opened_steady_ms_ = 0;

  std::mutex work_mutex_;
  std::condition_variable work_changed_;
  struct Work {
    std::chrono::steady_clock::time_point due;
    int attempt = 0;
    bool running = false, again = false;
  };
  std::map<Id, Work> work_;
  std::mutex rest_mutex_;
  std::condition_variable rest_changed_;
  bool gateway_due_ = false;
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> threads_;
  runtime::Exposure exposure_;  // last: ends before what it looks at
};

}  // namespace lucid::controller
