#include "sessions/processor/session.hpp"

#include <fmt/format.h>

#include "lib/contracts/fields.hpp"
#include "lib/evidence/checkpoint.hpp"

namespace lucid::processor {
namespace {

constexpr const char* kSessions = "sessions";
constexpr const char* kLeaves = "leaves";

std::string leaf_key(const Id& id, std::uint64_t sequence) { return id.text() + "/" + store::sortable(sequence); }

}  // namespace

std::shared_ptr<Session> load_session(store::Documents& documents, const Id& id) {
  auto document = documents.get(kSessions, id.text());
  if (!document) return nullptr;
  auto manifest = recording::parse_manifest(document->json);
  if (!manifest) throw manifest.error();
  auto session = std::make_shared<Session>();
  session->manifest = std::move(*manifest);
  std::string from = id.text() + "/", to = store::after_prefix(from);
  for (;;) {
    auto page = documents.scan(kLeaves, {.from = from, .to = to, .limit = 5'000, .order = store::Order::ascending});
    for (const store::Document& d : page) {
      auto value = parse_json(d.json);
      if (!value) throw value.error();
      contracts::Fields in(*value);
      auto data = from_hex(in.text("leaf"));
      if (!data) in.refuse("leaf");
      std::string checkpoint = in.text("checkpoint");
      bool end = in.boolean("end");
      if (!in.ok()) throw Error(ErrorKind::corrupt, "leaf_document", "processor.db: " + std::string(in.error("leaf " + d.key).what()));
      if (d.key != leaf_key(id, session->tree.size()))
        throw Error(
            ErrorKind::corrupt, "leaf_missing",
            fmt::format("processor.db: leaf {} of session {} is missing; restore the file from a backup", session->tree.size(), id.text()));
      session->tree.append(evidence::leaf_hash(*data));
      session->checkpoint = std::move(checkpoint);
      session->ended = end;
    }
    if (page.size() < 5'000) break;
    from = page.back().key + '\0';
  }
  if (!session->checkpoint.empty()) {
    auto checkpoint = evidence::parse_checkpoint(session->checkpoint);
    if (!checkpoint || checkpoint->size != session->tree.size() || checkpoint->root != session->tree.root())
      throw Error(ErrorKind::corrupt, "leaf_altered",
                  "processor.db: the leaves of session " + id.text() + " do not lead to the checkpoint signed over them");
  }
  return session;
}

void save_manifest(store::Documents& documents, const recording::Manifest& manifest) {
  documents.put(kSessions, manifest.session.text(), recording::to_json_text(manifest));
}

void append_leaf(store::Documents& documents, Session& session, const recording::Leaf& leaf, const crypto::SigningKey& key) {
  Bytes data = recording::encode_leaf(leaf);
  session.tree.append(evidence::leaf_hash(data));
  std::string checkpoint = evidence::sign_checkpoint(
      {.origin = recording::origin_of(session.manifest), .size = session.tree.size(), .root = session.tree.root(), .extensions = {}}, key);
  bool end = (leaf.flags & recording::kEnd) != 0;
  try {
    documents.put(kLeaves, leaf_key(leaf.session, leaf.sequence),
                  json::serialize(json::object{{"leaf", to_hex(data)}, {"checkpoint", checkpoint}, {"end", end}}));
  } catch (...) {
    session.tree.truncate(session.tree.size() - 1);
    throw;
  }
  session.checkpoint = std::move(checkpoint);
  session.ended = end;
}

std::optional<Bytes> leaf_data(store::Documents& documents, const Id& id, std::uint64_t sequence) {
  auto document = documents.get(kLeaves, leaf_key(id, sequence));
  if (!document) return std::nullopt;
  auto value = parse_json(document->json);
  if (!value) throw value.error();
  contracts::Fields in(*value);
  return from_hex(in.text("leaf"));
}

void remove_session(store::Documents& documents, const Id& id) {
  std::string prefix = id.text() + "/";
  documents.remove_range(kLeaves, prefix, store::after_prefix(prefix));
  documents.remove(kSessions, id.text());
}

}  // namespace lucid::processor
