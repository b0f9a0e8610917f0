// Recordings from the services that have them, and the settings of the work desk.
#include <fmt/format.h>

#include "lib/contracts/pipeline.hpp"
#include "lib/contracts/processor.hpp"
#include "lib/contracts/storage.hpp"
#include "lib/recording/session_note.hpp"
#include "node/management/work.hpp"

namespace lucid::node_management {
namespace {

class ServiceRecordings final : public Recordings {
 public:
  ServiceRecordings(const runtime::Context& context, const std::string& as)
      : pipeline_(context.client_for("session-pipeline", as)),
        storage_(context.client_for("session-storage", as)),
        processor_(context.client_for("chunk-processor", as)) {}

  Page page(const std::string& cursor) override {
    std::string target = "/api/v1/recordings?limit=100";
    if (!cursor.empty()) target += "&cursor=" + net::percent_encode(cursor);
    json::value answer = pipeline_->get_json(target);
    const json::object* object = answer.if_object();
    const json::value* list = object != nullptr ? object->if_contains("recordings") : nullptr;
    const json::value* next = object != nullptr ? object->if_contains("cursor") : nullptr;
    if (list == nullptr || !list->is_array() || next == nullptr || !next->is_string())
      throw Error(ErrorKind::malformed, "the list of recordings has a missing or wrong field");
    Page page;
    for (const json::value& value : list->get_array()) {
      contracts::RecordingStatus status = contracts::read_recording_status(value);
      if (status.finalised) page.finalised.push_back(status.session);
    }
    page.next.assign(next->get_string().data(), next->get_string().size());
    return page;
  }

  Recorded recorded(const Id& session) override {
    contracts::ProcessorKeys keys = processor_.keys();
    auto key = crypto::VerifyKey::parse(keys.checkpoint_public);
    if (!key) throw Error(ErrorKind::malformed, "the chunk processor names no key");
    auto checkpoint =
        recording::open_session_note(processor_.checkpoint(session), evidence::session_origin(keys.node, session.text()), *key);
    if (!checkpoint) throw checkpoint.error();
    contracts::StorageSummary stored = storage_.summary(session);
    if (stored.chunks != checkpoint->size)
      throw Error(
          ErrorKind::corrupt, "chunks_missing",
          fmt::format("session {}: {} chunks are stored, the checkpoint covers {}", session.text(), stored.chunks, checkpoint->size));
    return {stored.chunks, stored.stored_bytes, checkpoint->root};
  }

  std::vector<Row> rows(const Id& session, std::uint64_t from, std::size_t limit) override {
    std::vector<Row> rows;
    for (const contracts::ChunkRow& row : storage_.chunks(session, from, limit))
      rows.push_back({row.sequence, row.stored_size, row.blake3});
    return rows;
  }

  Bytes chunk(const Id& session, std::uint64_t sequence) override { return storage_.chunk(session, sequence); }

 private:
  std::shared_ptr<net::Client> pipeline_;
  contracts::StorageClient storage_;
  contracts::ProcessorClient processor_;
};

}  // namespace

std::unique_ptr<Recordings> recordings_of_services(const runtime::Context& context, const std::string& as) {
  return std::make_unique<ServiceRecordings>(context, as);
}

void declare_work_settings(runtime::Settings& settings) {
  settings.declare({.name = "node-management.challenge_seconds",
                    .environment = "NODE_CHALLENGE_SECONDS",
                    .fallback = "600",
                    .meaning = "A storage node is asked to prove one chunk it holds once in this time",
                    .check = runtime::integer_between(1, 86'400)});
  settings.declare({.name = "node-management.copies",
                    .environment = "NODE_COPIES",
                    .fallback = "2",
                    .meaning = "Storage nodes that are asked to hold a finalised recording",
                    .check = runtime::integer_between(0, 16)});
}

WorkConfig work_config(const runtime::Settings& settings) {
  WorkConfig config;
  config.challenge_ms = settings.integer("node-management.challenge_seconds") * 1'000;
  config.copies = static_cast<std::size_t>(settings.integer("node-management.copies"));
  return config;
}

}  // namespace lucid::node_management
