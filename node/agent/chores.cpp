#include "node/agent/chores.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "lib/crypto/hash.hpp"
#include "lib/evidence/tree.hpp"
#include "lib/recording/chunk.hpp"

namespace lucid::node_agent {
namespace {

using Kind = contracts::NodeWork::Kind;

constexpr std::chrono::seconds kFetchTime{20};

std::string_view kind_word(Kind kind) { return kind == Kind::hold ? "hold" : kind == Kind::challenge ? "challenge" : "validate"; }

}  // namespace

Chores::Chores(Parts parts) : parts_(std::move(parts)), thread_([this] { run(); }) {}

Chores::~Chores() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Chores::take(const std::vector<contracts::NodeWork>& work) {
  {
    std::int64_t now = parts_.clock.steady_ms();
    std::lock_guard lock(mutex_);
    std::erase_if(not_before_, [now](const auto& entry) { return entry.second <= now; });
    for (const contracts::NodeWork& w : work) {
      if (queue_.size() >= kQueued) break;
      if (w.id == in_hand_ || not_before_.contains(w.id)) continue;
      if (std::any_of(queue_.begin(), queue_.end(), [&](const contracts::NodeWork& q) { return q.id == w.id; })) continue;
      // A challenge has seconds, the rest minutes.
      if (w.kind == Kind::challenge)
        queue_.push_front(w);
      else
        queue_.push_back(w);
    }
  }
  changed_.notify_all();
}

void Chores::wait_until_idle() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return queue_.empty() && in_hand_.is_nil(); });
}

void Chores::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (stopping_) return;
    contracts::NodeWork work = queue_.front();
    queue_.pop_front();
    in_hand_ = work.id;
    lock.unlock();
    try {
      settle(work);
    } catch (const std::exception& e) {
      parts_.say(
          fmt::format("could not {} chunk {} of session {}: {}", kind_word(work.kind), work.sequence, work.session.text(), e.what()));
      std::lock_guard again(mutex_);
      not_before_[work.id] = parts_.clock.steady_ms() + kAgainMs;
    }
    lock.lock();
    in_hand_ = {};
    changed_.notify_all();
  }
}

void Chores::settle(const contracts::NodeWork& work) {
  std::optional<contracts::WorkAnswer> answer;
  {
    std::lock_guard lock(mutex_);
    if (auto it = answers_.find(work.id); it != answers_.end()) answer = it->second;
  }
  if (!answer) {
    answer = answer_to(work);
    std::lock_guard lock(mutex_);
    if (answers_.size() >= kAnswersKept) answers_.erase(answers_.begin());  // ids are ordered by time: the oldest
    answers_[work.id] = *answer;
  }
  std::string body = json::serialize(contracts::to_json(*answer));
  net::Response response =
      parts_.link.send(net::Method::post, fmt::format("/api/v1/nodes/{}/answers", parts_.identity.place()->node.text()), as_bytes(body));
  auto told = parse_json(as_text(response.body));
  const json::object* object = told ? told->if_object() : nullptr;
  const json::value* passed = object != nullptr ? object->if_contains("passed") : nullptr;
  const json::value* reason = object != nullptr ? object->if_contains("reason") : nullptr;
  if (passed != nullptr && passed->is_bool() && !passed->get_bool())
    parts_.say(fmt::format("{} of session {} did not pass: {}", kind_word(work.kind), work.session.text(),
                           reason != nullptr && reason->is_string() ? to_utf8(reason->get_string(), 200) : ""));
}

contracts::WorkAnswer Chores::answer_to(const contracts::NodeWork& work) {
  contracts::WorkAnswer answer{work.id, {}, {}};
  switch (work.kind) {
    case Kind::hold: answer.digest = parts_.shelf.put(work.session, work.sequence, fetch(work.session, work.sequence)); break;
    case Kind::challenge: answer.digest = prove(work); break;
    case Kind::validate: {
      answer.digest = recompute(work);
      Bytes text(as_bytes(contracts::kValidation).begin(), as_bytes(contracts::kValidation).end());
      text.insert(text.end(), work.session.bytes().begin(), work.session.bytes().end());
      text.insert(text.end(), answer.digest.begin(), answer.digest.end());
      answer.signature = parts_.identity.key().sign(text);
      break;
    }
  }
  return answer;
}

// The stored bytes, checked to be the chunk that was asked for.
Bytes Chores::fetch(const Id& session, std::uint64_t sequence) {
  Bytes stored =
      parts_.link.fetch(fmt::format("/api/v1/nodes/{}/chunks/{}/{}", parts_.identity.place()->node.text(), session.text(), sequence),
                        recording::kMaxChunkBytes, kFetchTime);
  auto header = recording::parse_chunk_header(stored);
  if (!header || header->session != session || header->sequence != sequence || recording::stored_size(*header) != stored.size())
    throw Error(ErrorKind::corrupt, "chunk_altered", "the service sent other bytes than that chunk");
  return stored;
}

// A chunk that is gone or damaged is answered with zeros at once: the node loses the challenge and is given the chunk anew.
Hash32 Chores::prove(const contracts::NodeWork& work) {
  auto stored = parts_.shelf.get(work.session, work.sequence);
  if (!stored || work.offset > stored->size() || work.length > stored->size() - work.offset) {
    parts_.say(fmt::format("chunk {} of session {} is gone or damaged here: the challenge is lost", work.sequence, work.session.text()));
    return {};
  }
  crypto::Blake3Hasher hasher;
  hasher.update(work.nonce);
  hasher.update(ByteView(*stored).subspan(work.offset, work.length));
  return hasher.finish();
}

// The root over every chunk's leaf (docs/formats/evidence.md), from the stored bytes alone.
Hash32 Chores::recompute(const contracts::NodeWork& work) {
  if (work.chunks > kMaxValidated) throw Error(ErrorKind::invalid, "a recording of so many chunks cannot be");
  evidence::Tree tree;
  for (std::uint64_t sequence = 0; sequence < work.chunks; ++sequence) {
    {
      std::lock_guard lock(mutex_);
      if (stopping_) throw Error(ErrorKind::unavailable, "the node is stopping");
    }
    Bytes stored = fetch(work.session, sequence);
    tree.append(
        evidence::leaf_hash(recording::encode_leaf(recording::leaf_of(*recording::parse_chunk_header(stored), crypto::blake3(stored)))));
  }
  return tree.root();
}

}  // namespace lucid::node_agent
