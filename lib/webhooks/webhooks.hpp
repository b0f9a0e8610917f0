// Webhooks: events posted to URLs people registered, signed by the Standard Webhooks specification (webhook-id, webhook-timestamp,
// webhook-signature "v1,<base64 HMAC-SHA256 of id.timestamp.body>"), so receivers can check them with any of its libraries. What enqueue()
// accepted is durable and delivered at least once, in order per hook, with the same webhook-id every time; a hook that fails is tried again with
// growing pauses. What a hook has not taken for a day, and what more than 10 000 would make wait, is counted as lost and said in the log. A hook
// that failed for a day is marked failing, not removed; one that answers 410 is disabled until a test succeeds. Secrets are made here, shown
// once, kept in documents of mode 0600, never logged. Thread-safe; up to four sender threads owned by the object, so that four hooks that hang
// hold others up by five seconds at most, and only before they are given their pause. Source: https://www.standardwebhooks.com, version 1.0.0.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/clock.hpp"
#include "lib/base/id.hpp"
#include "lib/base/json.hpp"
#include "lib/base/random.hpp"
#include "lib/net/client.hpp"
#include "lib/runtime/log.hpp"
#include "lib/runtime/metrics.hpp"
#include "lib/store/documents.hpp"

namespace lucid::webhooks {

enum class HookState { active, failing, disabled };
const char* name(HookState state);

struct Hook {
  Id id;
  std::string url;                 // http:// or https://, at most 2000 bytes, no user info
  std::vector<std::string> kinds;  // of events it gets ("alert.firing"); empty: all
  std::int64_t created_wall_ms = 0, last_success_wall_ms = 0, last_failure_wall_ms = 0;
  std::string last_problem;  // empty after a success; shows no path of the URL
  HookState state = HookState::active;
  std::uint64_t waiting = 0;
};
json::value to_json(const Hook& hook);  // never the secret

struct Made {
  Hook hook;
  std::string secret;  // "whsec_<base64 of 32 bytes>", shown this once
};

class Webhooks {
 public:
  struct Parts {
    store::Documents& documents;  // collections webhooks, webhook_queue
    const Clock& clock;
    RandomSource& random;
    runtime::Metrics& metrics;  // lucid_webhook_deliveries_total{outcome}, lucid_webhook_waiting, lucid_webhook_delivery_seconds
    runtime::Log log;
  };
  explicit Webhooks(Parts parts);
  ~Webhooks();  // ends the senders, after at most the 5 s an attempt may take; what waits is sent after the next start

  // Error{invalid} naming the field; at most 50, then Error{conflict, "limit_reached"}.
  Made add(const std::string& url, std::vector<std::string> kinds);
  std::vector<Hook> list() const;
  void remove(const Id& id);  // with what waits for it. Error{not_found}
  // Queues {"id", "type": kind, "timestamp", "data"}, at most 256 KiB, for every hook that wants `kind`: durable when it returns, nothing when
  // it throws. At most 10 000 wait per hook; the oldest go first.
  void enqueue(const std::string& kind, const json::value& data);
  // Sends one event of kind "test" to one hook now, on the calling thread; the problem, or nothing. A success ends the hook's pause and enables
  // a disabled one. Error{not_found}.
  std::optional<std::string> test(const Id& id);
  // The senders look at the clock again: for a clock that is moved by hand.
  void wake();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// "v1,<base64>" over id.timestamp.body; `secret` as Made::secret, of 24 to 64 bytes. Error{invalid} when it is none.
std::string signature(const std::string& secret, const std::string& id, std::int64_t timestamp_s, std::string_view body);

}  // namespace lucid::webhooks
