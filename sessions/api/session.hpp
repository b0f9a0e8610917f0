// A session as session-api keeps and shows it: what was asked for, what is known of its recording, and, once deleted,
// the receipt. Value types, their validation and their two JSON forms (stored and public). Pure; any thread.
// Requests are refused with Error{invalid} naming every wrong field.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/id.hpp"
#include "lib/base/json.hpp"
#include "lib/contracts/controller.hpp"
#include "lib/contracts/pipeline.hpp"
#include "lib/contracts/recording_options.hpp"

namespace lucid::api {

enum class Status { created, starting, recording, paused, stopping, processing, completed, failed, terminated, deleted };
inline constexpr std::size_t kStatusCount = 10;
const char* name(Status status);
std::optional<Status> status_named(std::string_view name);
bool is_live(Status status);     // the recording is going on or being finished
bool is_settled(Status status);  // completed, failed, terminated, deleted

enum class FailMode { closed, open };
struct Policy {
  FailMode fail_mode = FailMode::closed;
  std::int64_t idle_timeout = 0;  // seconds without anything new on the screen or from its user; 0: none
  std::int64_t max_duration = 0;  // seconds since the first frame; 0: none
};

struct StorageTerms {
  int retention_days = 30;
  std::vector<std::string> recipients;  // "lucid-box-pub:…", beside the deployment's playback key
};

struct Metadata {
  std::string project, environment, description, owner;
  std::vector<std::string> tags;
};

// What is left of a deleted recording. `root` is that of the last signed checkpoint, empty when nothing was recorded.
struct Receipt {
  std::int64_t asked_wall_ms = 0, deleted_wall_ms = 0;
  std::uint64_t chunks = 0, stored_bytes = 0;
  std::uint64_t tree_size = 0;
  std::string root, checkpoint;
};

struct Session {
  Id id;
  std::string name;
  contracts::DisplayTarget target;          // kind "display"
  std::optional<contracts::RdpTarget> rdp;  // kind "rdp": the controller makes the desktop and its recording
  contracts::RecordingOptions recording;
  Policy policy;
  StorageTerms storage;
  Metadata metadata;

  std::int64_t created_wall_ms = 0, updated_wall_ms = 0;
  std::int64_t version = 1;  // of what users can change; the ETag
  Status status = Status::created;
  std::string cause;  // why it failed or was stopped, or empty
  bool terminate_asked = false;

  // As the pipeline last told.
  std::int64_t started_wall_ms = 0, duration_ms = 0, last_commit_wall_ms = 0;
  std::uint64_t chunks = 0, stored_bytes = 0, gaps = 0, backlog = 0;
  bool stalled = false;
  std::string alarm;

  // As the controller last told of an RDP session.
  std::string rdp_state, client_address, node;
  bool frozen = false;

  std::optional<Receipt> receipt;  // set when deletion began; complete once status is deleted
  bool stale = false;              // not stored: the pipeline is away, this is what was last known
};

// A request body → the session it asks for (id and times are the caller's). Throws Error{invalid}.
Session read_create(const json::value& body);
// Applies a PATCH body (name, metadata) to `session`. Throws Error{invalid}.
void apply_patch(const json::value& body, Session& session);
// Takes over what the pipeline says. True when it is worth keeping: more than counters moved.
bool apply_status(const contracts::RecordingStatus& status, Session& session);
// The same for an RDP session: what the controller says of it, and the pipeline where it records.
bool apply_status(const contracts::RdpSession& rdp, const std::optional<contracts::RecordingStatus>& recording, Session& session);
contracts::RecordingPlan plan_of(const Session& session);
contracts::RdpSessionRequest rdp_request_of(const Session& session);  // session.rdp is set

json::object to_public(const Session& session);
json::object to_public(const Id& session, const Receipt& receipt);
std::string to_stored(const Session& session);
Session from_stored(std::string_view text);  // throws Error{corrupt}

}  // namespace lucid::api
