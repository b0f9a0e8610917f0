// For tests of the work desk: the service and the recordings it is given, in memory, and a desk with a clock moved by hand.
#pragma once

#include <filesystem>

#include <gtest/gtest.h>

#include "lib/crypto/hash.hpp"
#include "node/management/work.hpp"

namespace lucid::node_management {

using contracts::NodeState;
using contracts::NodeType;
using contracts::NodeWork;
using Kind = NodeWork::Kind;

class DeskHost final : public WorkHost {
 public:
  Id add(NodeType type, std::uint64_t storage_bytes = 1 << 30) {
    keys.push_back(crypto::SigningKey::make(random));
    contracts::NodeStatus node;
    node.id = Id::make(clock, random);
    node.type = type;
    node.state = NodeState::active;
    node.key = keys.back().verify_key();
    node.capacity.storage_bytes = storage_bytes;
    nodes[node.id] = node;
    key_of[node.id] = keys.size() - 1;
    return node.id;
  }
  std::vector<contracts::NodeStatus> active(NodeType type) override {
    std::vector<contracts::NodeStatus> out;
    for (const auto& [id, node] : nodes)
      if (node.type == type && node.state == NodeState::active) out.push_back(node);
    return out;
  }
  std::optional<contracts::NodeStatus> node(const Id& id) override {
    auto it = nodes.find(id);
    return it == nodes.end() ? std::nullopt : std::optional(it->second);
  }
  void challenged(const Id& node, const Id& work, bool passed) override {
    if (fail_next && !(fail_next = false)) throw Error(ErrorKind::unavailable, "the disk is away");
    if (counted.insert(work).second) ++(passed ? passes : fails)[node];
  }
  void validated(const Id& node, const Id& work, const Id& session) override {
    if (counted.insert(work).second) validations[node].push_back(session);
  }
  SystemRandom random;
  SystemClock clock;
  std::map<Id, contracts::NodeStatus> nodes;
  std::vector<crypto::SigningKey> keys;
  std::map<Id, std::size_t> key_of;
  std::set<Id> counted;
  std::map<Id, int> passes, fails;
  std::map<Id, std::vector<Id>> validations;
  bool fail_next = false;
};

class DeskRecordings final : public Recordings {
 public:
  Id add(std::size_t chunks, std::size_t bytes = 1'000) {
    Id session = Id::make(clock, random);
    for (std::size_t i = 0; i < chunks; ++i) {
      Bytes chunk(bytes + i);
      random.fill(chunk);
      all[session].push_back(chunk);
    }
    roots[session] = crypto::blake3(all[session].empty() ? Bytes{} : all[session][0]);
    return session;
  }
  Page page(const std::string& cursor) override {
    ++calls;
    if (away) throw Error(ErrorKind::unavailable, "away");
    Page page;
    std::size_t from = cursor.empty() ? 0 : std::stoul(cursor), i = 0;
    for (auto it = all.rbegin(); it != all.rend(); ++it, ++i)
      if (i >= from && i < from + 10) page.finalised.push_back(it->first);
    if (from + 10 < all.size()) page.next = std::to_string(from + 10);
    return page;
  }
  Recorded recorded(const Id& session) override {
    const auto& chunks = at(session);
    Recorded out{chunks.size(), 0, roots.at(session)};
    for (const Bytes& chunk : chunks) out.bytes += chunk.size();
    return out;
  }
  std::vector<Row> rows(const Id& session, std::uint64_t from, std::size_t limit) override {
    std::vector<Row> out;
    const auto& chunks = at(session);
    for (std::uint64_t i = from; i < chunks.size() && out.size() < limit; ++i)
      out.push_back({i, chunks[i].size(), crypto::blake3(chunks[i])});
    return out;
  }
  Bytes chunk(const Id& session, std::uint64_t sequence) override { return at(session).at(sequence); }
  const std::vector<Bytes>& at(const Id& session) {
    if (away) throw Error(ErrorKind::unavailable, "away");
    auto it = all.find(session);
    if (it == all.end()) throw Error(ErrorKind::not_found, "session_not_found", "deleted");
    return it->second;
  }
  SystemRandom random;
  SystemClock clock;
  std::map<Id, std::vector<Bytes>> all;
  std::map<Id, Hash32> roots;
  bool away = false;
  int calls = 0;
};

class WorkDeskTest : public testing::Test {
 protected:
  WorkDeskTest() {
    std::string pattern = testing::TempDir() + "/work-desk-XXXXXX";
    directory = ::mkdtemp(pattern.data());
    restart();
  }
  ~WorkDeskTest() override {
    desk.reset();
    documents.reset();
    std::filesystem::remove_all(directory);
  }
  void restart() {
    desk.reset();
    documents.reset();
    documents = store::open_sqlite_documents(directory + "/nodes.db");
    desk = std::make_unique<Work>(*documents, host, recordings, clock, random, config);
    desk->load();
  }
  contracts::WorkAnswer right(const NodeWork& w, const Id& node) {
    contracts::WorkAnswer a{w.id, {}, {}};
    if (w.kind == Kind::hold) a.digest = crypto::blake3(recordings.all.at(w.session).at(w.sequence));
    if (w.kind == Kind::challenge) {
      const Bytes& chunk = recordings.all.at(w.session).at(w.sequence);
      Bytes asked(w.nonce.begin(), w.nonce.end());
      asked.insert(asked.end(), chunk.begin() + static_cast<long>(w.offset), chunk.begin() + static_cast<long>(w.offset + w.length));
      a.digest = crypto::blake3(asked);
    }
    if (w.kind == Kind::validate) {
      a.digest = recordings.roots.at(w.session);
      a.signature = host.keys[host.key_of.at(node)].sign(validation_text(w.session, a.digest));
    }
    return a;
  }
  static Bytes validation_text(const Id& session, const Hash32& root) {
    Bytes text(as_bytes(contracts::kValidation).begin(), as_bytes(contracts::kValidation).end());
    text.insert(text.end(), session.bytes().begin(), session.bytes().end());
    text.insert(text.end(), root.begin(), root.end());
    return text;
  }
  // Answers everything the node is given, until it is given nothing more.
  void do_all(const Id& node, std::optional<Kind> only = {}) {
    for (bool did = true; did;) {
      did = false;
      desk->tick();
      for (const NodeWork& w : desk->work_for(node))
        if (!only || w.kind == *only) {
          EXPECT_TRUE(desk->answer(node, right(w, node)).passed);
          did = true;
        }
    }
  }
  std::optional<NodeWork> given(const Id& node, Kind kind) {
    for (const NodeWork& w : desk->work_for(node))
      if (w.kind == kind) return w;
    return std::nullopt;
  }
  NodeWork challenge(const Id& node) {
    for (int i = 0; i < 100; ++i) {
      desk->tick();
      if (auto w = given(node, Kind::challenge)) return *w;
      clock.advance(config.challenge_ms / 8);
    }
    ADD_FAILURE() << "no challenge";
    return {};
  }
  std::string refused(auto&& does) {
    try {
      does();
    } catch (const Error& e) { return e.code(); }
    return "";
  }

  ManualClock clock{1'790'000'000'000};
  SystemRandom random;
  WorkConfig config;
  DeskHost host;
  DeskRecordings recordings;
  std::string directory;
  std::unique_ptr<store::Documents> documents;
  std::unique_ptr<Work> desk;
};

}  // namespace lucid::node_management
