#include "sessions/api/sessions.hpp"

#include <array>

#include <fmt/format.h>

#include "lib/evidence/checkpoint.hpp"

namespace lucid::api {
namespace {

constexpr std::int64_t kStartOnItsWayMs = 10'000;
constexpr const char* kCollection = "sessions";
constexpr std::size_t kScanPage = 200;
constexpr std::size_t kMaxScanned = 10'000;  // documents looked at for one page of a list
constexpr int kMaxRaces = 20;

Error not_found(const Id& id) { return Error(ErrorKind::not_found, "session_not_found", fmt::format("there is no session {}", id.text())); }

Error illegal(Action action, const Session& session) {
  return Error(ErrorKind::conflict, "illegal_transition",
               fmt::format("cannot {} session {}: it is {}", name(action), session.id.text(), name(session.status)));
}

// Runs a removal that may have been done before.
template <class F>
void unless_gone(F&& remove) {
  try {
    remove();
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::not_found) throw;
  }
}

}  // namespace

const char* name(Action action) {
  static constexpr std::array<const char*, 5> names{"start", "pause", "resume", "stop", "terminate"};
  return names[static_cast<std::size_t>(action)];
}

Sessions::Sessions(Parts parts) : parts_(std::move(parts)), idempotency_(parts_.documents, parts_.clock) {}

Sessions::Loaded Sessions::load(const Id& id) {
  auto document = parts_.documents.get(kCollection, id.text());
  if (!document) throw not_found(id);
  return {from_stored(document->json), document->version};
}

Session Sessions::update(const Id& id, const std::function<bool(Session&)>& change) {
  for (int race = 0; race < kMaxRaces; ++race) {
    Loaded loaded = load(id);
    if (!change(loaded.session)) return loaded.session;
    loaded.session.updated_wall_ms = parts_.clock.wall_ms();
    if (parts_.documents.replace(kCollection, id.text(), to_stored(loaded.session), loaded.document_version)) return loaded.session;
  }
  throw Error(ErrorKind::unavailable, "too_busy", fmt::format("session {} is being changed by too many at once; try again", id.text()))
      .with_retry_after(std::chrono::seconds(1));
}

Sessions::Made Sessions::create(const json::value& body, const std::optional<IdempotencyKeys::Asked>& once) {
  Session session = read_create(body);
  session.id = Id::make(parts_.clock, parts_.random);
  session.created_wall_ms = session.updated_wall_ms = parts_.clock.wall_ms();
  if (once) {
    std::string standing = idempotency_.claim(*once, session.id.text());
    auto id = Id::parse(standing);
    if (!id) throw Error(ErrorKind::corrupt, "idempotency_document", "a stored idempotency key names no session");
    session.id = *id;
  }
  // A claim whose session was never written (a crash between the two) is completed here.
  if (parts_.documents.insert(kCollection, session.id.text(), to_stored(session))) return {session, true};
  return {get(session.id), false};
}

Session Sessions::stored(const Id& id) {
  Session session = load(id).session;
  if (session.receipt)
    throw Error(ErrorKind::not_found, "session_deleted", fmt::format("the recording of session {} was deleted", id.text()));
  return session;
}

Session Sessions::refresh_rdp(const Session& session) {
  contracts::RdpSession rdp = parts_.controller->status(session.id);
  std::optional<contracts::RecordingStatus> recording;
  try {
    recording = parts_.pipeline->status(session.id);
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::not_found) throw;
  }
  return update(session.id, [&](Session& s) { return !s.receipt && apply_status(rdp, recording, s); });
}

Session Sessions::refresh(const Session& session) {
  if (session.status == Status::created || session.receipt) return session;
  contracts::RecordingStatus status;
  try {
    if (session.rdp) return refresh_rdp(session);
    status = parts_.pipeline->status(session.id);
  } catch (const Error& e) {
    // Young ones are on their way to the pipeline in another request.
    if (e.kind() == ErrorKind::not_found && session.status == Status::starting &&
        parts_.clock.wall_ms() - session.updated_wall_ms > kStartOnItsWayMs) {
      // The start never reached the pipeline.
      return update(session.id, [](Session& s) { return s.status == Status::starting ? (s.status = Status::created, true) : false; });
    }
    Session known = session;
    known.stale = true;
    return known;
  }
  try {
    return update(session.id, [&](Session& s) { return !s.receipt && apply_status(status, s); });
  } catch (const Error& e) {
    // Looking must work when writing does not: on a full disk people come to see the alarm.
    if (e.kind() != ErrorKind::storage_full && e.kind() != ErrorKind::unavailable) throw;
    Session known = session;
    apply_status(status, known);
    return known;
  }
}

Session Sessions::get(const Id& id) {
  Session session = load(id).session;
  // A failed recording may be recovered by the pipeline, the others will not change any more.
  return is_settled(session.status) && session.status != Status::failed ? session : refresh(session);
}

Sessions::Page Sessions::list(const ListQuery& query) {
  Page page;
  std::optional<Id> last = query.after;
  bool pipeline_away = false;
  for (std::size_t scanned = 0; scanned < kMaxScanned;) {
    // Keys are UUIDv7 texts: descending is newest first.
    store::Scan scan{.from = "", .to = last ? last->text() : "", .limit = kScanPage, .order = store::Order::descending};
    std::vector<store::Document> documents = parts_.documents.scan(kCollection, scan);
    std::size_t taken = 0;
    for (const store::Document& document : documents) {
      if (last && document.key >= last->text()) continue;
      ++taken;
      Session session = from_stored(document.json);
      if (query.from_ms && session.created_wall_ms < *query.from_ms) return page;
      last = session.id;
      if (is_live(session.status)) {
        if (!pipeline_away)
          session = refresh(session);
        else
          session.stale = true;
        pipeline_away = session.stale;
      }
      if (!matches(query, session)) continue;
      page.sessions.push_back(std::move(session));
      if (page.sessions.size() > query.limit) {
        page.sessions.pop_back();
        page.next = encode_cursor(page.sessions.back().id);
        return page;
      }
    }
    scanned += taken;
    if (documents.size() < kScanPage || taken == 0) return page;
  }
  if (last) page.next = encode_cursor(*last);  // a rare filter: the client goes on from here
  return page;
}

Session Sessions::patch(const Id& id, const json::value& body, std::optional<std::int64_t> expected_version) {
  stored(id);
  return update(id, [&](Session& s) {
    if (expected_version && *expected_version != s.version)
      throw Error(ErrorKind::conflict, "version_mismatch",
                  fmt::format("session {} is at version {}, not {}; read it again", id.text(), s.version, *expected_version));
    apply_patch(body, s);
    ++s.version;
    return true;
  });
}

Session Sessions::start(const Session& session) {
  // The intent is durable before the pipeline hears of it, so that a crash here leaves a session that asks the pipeline.
  update(session.id, [&](Session& s) {
    if (s.status == Status::starting) return false;  // an attempt before, whose answer was lost: what follows may be asked twice
    if (s.status != Status::created) throw illegal(Action::start, s);
    s.status = Status::starting;
    return true;
  });
  try {
    if (session.rdp) {
      contracts::RdpSession rdp = parts_.controller->create(rdp_request_of(session));
      return update(session.id, [&](Session& s) { return apply_status(rdp, std::nullopt, s); });
    }
    try {
      parts_.pipeline->create(plan_of(session));
    } catch (const Error& e) {
      // It knows the session from an earlier attempt, before its name was changed: the same recording all the same.
      if (e.code() != "recording_exists") throw;
    }
    contracts::RecordingStatus status = parts_.pipeline->act(session.id, "start");
    return update(session.id, [&](Session& s) { return apply_status(status, s); });
  } catch (const Error&) {
    refresh(load(session.id).session);
    throw;
  }
}

Session Sessions::act(const Id& id, Action action, const std::string& cause) {
  stored(id);
  Session session = get(id);
  if (action == Action::start) {
    if (session.status != Status::created && session.status != Status::starting) throw illegal(action, session);
    return start(session);
  }
  if (session.status == Status::created || is_settled(session.status)) throw illegal(action, session);
  bool terminate = action == Action::terminate;
  auto mark = [&](Session& s) {
    if (terminate) s.terminate_asked = true;
    if (!cause.empty()) s.cause = cause;
    return terminate || !cause.empty();
  };
  if (terminate && (session.status == Status::stopping || session.status == Status::processing)) return update(id, mark);
  if (session.rdp) {
    update(id, mark);
    parts_.controller->act(id, name(action));
    return refresh(load(id).session);
  }
  contracts::RecordingStatus status = parts_.pipeline->act(id, terminate ? "stop" : name(action));
  return update(id, [&](Session& s) {
    bool marked = mark(s);
    return apply_status(status, s) || marked;
  });
}

contracts::ConnectionOffer Sessions::connection(const Id& id) {
  if (!stored(id).rdp)
    throw Error(ErrorKind::conflict, "not_rdp",
                fmt::format("session {} records an existing display: there is nothing to connect to", id.text()));
  return parts_.controller->connection(id);
}

Receipt Sessions::take_receipt(const Session& session) {
  Receipt receipt;
  receipt.asked_wall_ms = parts_.clock.wall_ms();
  unless_gone([&] {
    contracts::StorageSummary summary = parts_.storage->summary(session.id);
    receipt.chunks = summary.chunks;
    receipt.stored_bytes = summary.stored_bytes;
  });
  unless_gone([&] {
    receipt.checkpoint = parts_.processor->checkpoint(session.id);
    if (auto checkpoint = evidence::parse_checkpoint(receipt.checkpoint)) {
      receipt.root = to_hex(checkpoint->root);
      receipt.tree_size = checkpoint->size;
    }
  });
  return receipt;
}

Receipt Sessions::remove(const Id& id) {
  Session session = load(id).session;
  if (session.status == Status::deleted && session.receipt) return *session.receipt;
  if (!session.receipt) {
    session = get(id);
    if (session.stale)
      throw Error(ErrorKind::unavailable, "pipeline_unavailable",
                  "the pipeline is away, so whether the session still records is unknown; try again")
          .with_retry_after(std::chrono::seconds(2));
    if (is_live(session.status))
      throw Error(ErrorKind::conflict, "session_live", fmt::format("session {} is {}: stop it first", id.text(), name(session.status)));
    Receipt receipt = take_receipt(session);
    session = update(id, [&](Session& s) {
      if (s.receipt) return false;
      if (is_live(s.status))
        throw Error(ErrorKind::conflict, "session_live", fmt::format("session {} is {}: stop it first", id.text(), name(s.status)));
      s.receipt = receipt;
      return true;
    });
  }
  parts_.forget(id);
  // The pipeline first: it lets no more chunks be committed.
  unless_gone([&] {
    contracts::RecordingStatus status = parts_.pipeline->status(id);
    if (status.state != contracts::PipelineState::destroyed) parts_.pipeline->act(id, "cleanup");
    parts_.pipeline->remove(id);
  });
  unless_gone([&] { parts_.processor->remove(id); });
  unless_gone([&] { parts_.storage->remove(id); });
  session = update(id, [&](Session& s) {
    if (s.status == Status::deleted) return false;
    s.status = Status::deleted;
    s.receipt->deleted_wall_ms = parts_.clock.wall_ms();
    ++s.version;
    return true;
  });
  return *session.receipt;
}

std::vector<Session> Sessions::unsettled() {
  std::vector<Session> live;
  std::string from;
  for (;;) {
    auto documents = parts_.documents.scan(kCollection, {.from = from, .to = "", .limit = kScanPage, .order = store::Order::ascending});
    for (const auto& document : documents) {
      Session session = from_stored(document.json);
      if (is_live(session.status)) live.push_back(std::move(session));
    }
    if (documents.size() < kScanPage) return live;
    from = documents.back().key + '\x01';
  }
}

}  // namespace lucid::api
