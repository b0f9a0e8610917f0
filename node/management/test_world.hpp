// A service on a real database, with a clock moved by hand, nodes that sign, and a disk that fails when told to.
#pragma once

#include <functional>

#include <gtest/gtest.h>

#include "lib/base/file_ops.hpp"
#include "node/management/http.hpp"

namespace lucid::node_management {

// Passes everything on; the n-th change from now on fails, before it is made or after.
class FailingDocuments final : public store::Documents {
 public:
  explicit FailingDocuments(store::Documents& real) : real_(real) {}
  enum class How { before, after };
  void fail_at(int change, How how, bool for_good = true) {
    left_ = change;
    how_ = how;
    for_good_ = for_good;
  }
  void heal() { left_ = -1; }
  bool failed() const { return failed_; }
  int changes() const { return changes_; }
  std::function<void(const std::string& collection)> on_change;

  bool insert(const std::string& c, const std::string& k, const std::string& j) override {
    return change(c, [&] { return real_.insert(c, k, j); });
  }
  std::vector<bool> insert_many(std::span<const Insert> inserts) override {
    return change(inserts.empty() ? "" : inserts.front().collection, [&] { return real_.insert_many(inserts); });
  }
  std::optional<store::Document> get(const std::string& c, const std::string& k) override { return real_.get(c, k); }
  bool replace(const std::string& c, const std::string& k, const std::string& j, std::int64_t version) override {
    return change(c, [&] { return real_.replace(c, k, j, version); });
  }
  void put(const std::string& c, const std::string& k, const std::string& j) override {
    change(c, [&] { return real_.put(c, k, j), true; });
  }
  bool remove(const std::string& c, const std::string& k) override {
    return change(c, [&] { return real_.remove(c, k); });
  }
  std::uint64_t remove_range(const std::string& c, const std::string& from, const std::string& to) override {
    return change(c, [&] { return real_.remove_range(c, from, to); });
  }
  std::vector<store::Document> scan(const std::string& c, const store::Scan& scan) override { return real_.scan(c, scan); }
  std::uint64_t count(const std::string& c, const std::string& from, const std::string& to) override { return real_.count(c, from, to); }

 private:
  template <class F>
  std::invoke_result_t<F> change(const std::string& collection, F make) {
    if (on_change) on_change(collection);
    ++changes_;
    if (left_ > 0) --left_;
    bool fails = left_ == 0;
    if (fails && !for_good_) left_ = -1;
    if (fails && how_ == How::before)
      failed_ = true, throw Error(ErrorKind::unavailable, "disk_failed", "the disk failed before the change");
    auto answer = make();
    if (fails) {
      failed_ = true;
      how_ = How::before;  // the process is as good as dead from here
      throw Error(ErrorKind::unavailable, "disk_failed", "the disk failed after the change");
    }
    return answer;
  }
  store::Documents& real_;
  std::atomic<int> left_{-1}, changes_{0};
  How how_ = How::before;
  bool for_good_ = true;
  std::atomic<bool> failed_{false};
};

struct TestNode {
  crypto::SigningKey key;
  Id id;
  std::uint64_t sequence = 0;
  contracts::NodeLoad load{4'000, 8'192, {}, 0};
  std::string sign(const std::string& method, const std::string& path, ByteView body) {
    ++sequence;
    return contracts::node_header({id, sequence, key.sign(as_bytes(contracts::signed_text(method, path, sequence, body)))});
  }
};

// A desk that holds what it is told.
struct TestDesk final : WorkDesk {
  std::map<Id, Held> holds;
  std::vector<contracts::NodeWork> work;
  std::vector<contracts::NodeWork> work_for(const Id&) override { return work; }
  Answered answer(const Id&, const contracts::WorkAnswer& a) override { return {a.digest[0] == 1, a.digest[0] == 1 ? "" : "wrong digest"}; }
  Bytes chunk(const Id&, const Id&, std::uint64_t sequence) override {
    if (sequence != 7) throw Error(ErrorKind::not_found, "chunk_not_asked", "not asked");
    return {1, 2, 3};
  }
  std::map<Id, Held> held() override { return holds; }
};

struct World {
  TempDir dir;
  ManualClock clock{poot::begins_wall_ms(1'000)};
  SeededRandom random{11};
  std::unique_ptr<runtime::Metrics> metrics;
  std::unique_ptr<store::Documents> sqlite = store::open_sqlite_documents(dir.path() + "/nodes.db");
  FailingDocuments documents{*sqlite};
  crypto::SigningKey key = crypto::SigningKey::make(random);
  std::map<Id, Committed> committed;  // what the pipeline says
  bool pipeline_away = false;
  TestDesk desk;
  std::unique_ptr<Management> m;

  World() { restart(); }
  // As after kill -9.
  Management& restart() {
    m.reset();
    metrics = std::make_unique<runtime::Metrics>();
    m = std::make_unique<Management>(Management::Parts{.documents = documents,
                                                       .clock = clock,
                                                       .random = random,
                                                       .metrics = *metrics,
                                                       .key = *crypto::SigningKey::parse(key.text()),
                                                       .node = "test",
                                                       .measure = [this](const std::set<Id>& sessions) {
                                                         if (pipeline_away) throw Error(ErrorKind::unavailable, "the pipeline is away");
                                                         std::map<Id, Committed> out;
                                                         for (const Id& id : sessions)
                                                           if (committed.contains(id)) out[id] = committed[id];
                                                         return out;
                                                       }});
    m->open();
    m->attach(&desk);
    return *m;
  }
  Registry& registry() { return m->registry(); }
  Id id() { return Id::make(clock, random); }

  contracts::NodeRegistration registration(const TestNode& n, const std::string& name,
                                           contracts::NodeType type = contracts::NodeType::worker) {
    return {registry().invite(1, 3'600).secret, n.key.verify_key(), name, type, {4'000, 8'192, 8, 1 << 30}, {}};
  }
  TestNode fresh() { return {crypto::SigningKey::make(random), {}, 0}; }
  crypto::Signature answer(const TestNode& n, const std::array<std::uint8_t, 32>& challenge) {
    Bytes message(as_bytes(contracts::kActivation).begin(), as_bytes(contracts::kActivation).end());
    message.insert(message.end(), challenge.begin(), challenge.end());
    return n.key.sign(message);
  }
  TestNode join(const std::string& name, contracts::NodeType type = contracts::NodeType::worker) {
    TestNode n = fresh();
    auto made = registry().register_node(registration(n, name, type));
    n.id = made.id;
    registry().activate(n.id, answer(n, made.challenge));
    beat(n);
    return n;
  }
  contracts::BeatReply beat(TestNode& n) {
    std::string path = "/api/v1/nodes/" + n.id.text() + "/heartbeat", body = json::serialize(contracts::to_json(n.load));
    Id by = registry().authenticate(n.sign("POST", path, as_bytes(body)), "POST", path, as_bytes(body));
    return registry().beat(by, n.load);
  }
  State state(const TestNode& n) { return registry().status(n.id).state; }
  contracts::Placement place(const Id& session) { return registry().place(std::nullopt, {.session = session}); }

  struct Answer {
    int status = 0;
    json::value body;
    std::string code() const {
      return body.is_object() && body.as_object().contains("code") ? std::string(body.at("code").as_string()) : "";
    }
  };
  // Through the routes; `by` signs.
  Answer call(net::Method method, const std::string& path, const json::value& body = nullptr, TestNode* by = nullptr) {
    net::Router router = routes(*m);
    std::string plain = path.substr(0, path.find('?'));
    auto match = router.match(method, plain);
    if (match.route == nullptr) return {405, nullptr};
    net::Request request;
    request.method = method;
    request.path = plain;
    request.params = match.params;
    for (std::string rest = plain.size() < path.size() ? path.substr(plain.size() + 1) : ""; !rest.empty();) {
      std::string pair = rest.substr(0, rest.find('&'));
      rest = pair.size() < rest.size() ? rest.substr(pair.size() + 1) : "";
      request.query[pair.substr(0, pair.find('='))] = pair.substr(pair.find('=') + 1);
    }
    std::string text = json::serialize(body);
    if (!body.is_null()) {
      request.headers.set("Content-Type", "application/json");
      request.body.assign(text.begin(), text.end());
    }
    if (by != nullptr) request.headers.set(contracts::kNodeHeader, by->sign(net::name(method), plain, request.body));
    net::Response response;
    try {
      response = match.route->handler(request);
    } catch (const Error& e) { response = net::problem(e, "r"); }
    auto parsed = parse_json(as_text(response.body), 64 << 20);
    return {response.status, parsed ? *parsed : json::value(nullptr)};
  }
};

// The code of the Error `f` throws; "none".
inline std::string code_of(const std::function<void()>& f) {
  try {
    f();
    return "none";
  } catch (const Error& e) { return e.code().empty() ? default_code(e.kind()) : e.code(); }
}

}  // namespace lucid::node_management
