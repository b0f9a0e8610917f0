// The sessions of this deployment: created, listed, changed, driven through their life by the pipeline, deleted with a
// receipt. Documents hold what was asked for and the last known status; while a session is live, the pipeline knows
// better and is asked. Owned by the service; any thread. Throws lucid::Error. What a call answered survives power loss.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/clock.hpp"
#include "lib/base/random.hpp"
#include "lib/contracts/controller.hpp"
#include "lib/contracts/pipeline.hpp"
#include "lib/contracts/processor.hpp"
#include "lib/contracts/storage.hpp"
#include "lib/store/documents.hpp"
#include "sessions/api/idempotency.hpp"
#include "sessions/api/listing.hpp"
#include "sessions/api/session.hpp"

namespace lucid::api {

enum class Action { start, pause, resume, stop, terminate };
const char* name(Action action);

class Sessions {
 public:
  struct Parts {
    store::Documents& documents;
    std::shared_ptr<contracts::PipelineClient> pipeline;
    std::shared_ptr<contracts::ProcessorClient> processor;
    std::shared_ptr<contracts::StorageClient> storage;
    std::shared_ptr<contracts::ControllerClient> controller;  // of RDP sessions
    const Clock& clock;
    RandomSource& random;
    std::function<void(const Id&)> forget;  // told of every deleted session: caches drop it
  };
  explicit Sessions(Parts parts);

  struct Made {
    Session session;
    bool created = true;
  };  // created false: an earlier request with this key made it
  Made create(const json::value& body, const std::optional<IdempotencyKeys::Asked>& once);
  // With the status as it is now; `stale` when the pipeline is away.
  Session get(const Id& id);
  // As stored, without asking anybody. Error{not_found, "session_not_found"}; a deleted one is "session_deleted" here.
  Session stored(const Id& id);
  struct Page {
    std::vector<Session> sessions;
    std::optional<std::string> next;
  };
  Page list(const ListQuery& query);
  // Error{conflict, "version_mismatch"} when `expected_version` is not the current one.
  Session patch(const Id& id, const json::value& body, std::optional<std::int64_t> expected_version);
  // Error{conflict, "illegal_transition"}; Error{unavailable} when the pipeline is away.
  Session act(const Id& id, Action action, const std::string& cause = {});
  // How to reach the desktop of an RDP session: a new routing token and one-time password; those before are void.
  // Error{conflict, "not_rdp"} for any other.
  contracts::ConnectionOffer connection(const Id& id);
  // Removes everything but the receipt. Error{conflict, "session_live"} while live. Interrupted, it is repeated from
  // where it stopped, with the receipt taken at the first attempt.
  Receipt remove(const Id& id);
  // Every session that is not settled, as stored.
  std::vector<Session> unsettled();

  IdempotencyKeys& idempotency() { return idempotency_; }

 private:
  struct Loaded {
    Session session;
    std::int64_t document_version = 0;
  };
  Loaded load(const Id& id);
  // Changes the stored session by `change` (called again when another thread was quicker; false: nothing to write).
  Session update(const Id& id, const std::function<bool(Session&)>& change);
  Session refresh(const Session& session);
  Session refresh_rdp(const Session& session);
  Session start(const Session& session);
  Receipt take_receipt(const Session& session);

  Parts parts_;
  IdempotencyKeys idempotency_;
};

}  // namespace lucid::api
