// What the recorder's tests share: a processor and a pipeline that listen on real sockets and speak the real formats,
// so that segments are opened as the chunk-processor opens them.
#pragma once

#include <atomic>
#include <map>
#include <mutex>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "lib/net/server.hpp"
#include "lib/recording/chunk.hpp"
#include "lib/recording/player.hpp"
#include "lib/recording/records.hpp"
#include "lib/recording/spool_format.hpp"
#include "sessions/recorder/recorder.hpp"
#include "tests/support/xvfb.hpp"

namespace lucid::recorder::testing {

using test_support::eventually;
namespace rec = lucid::recording;

inline std::shared_ptr<net::Client> client_of(std::uint16_t port) {
  net::ClientConfig config;
  config.base_url = fmt::format("http://127.0.0.1:{}", port);
  return std::make_shared<net::Client>(config);
}

// Takes segments in order per session, as the chunk-processor does. `answer` may refuse one: an Error is thrown as such.
class Processor {
 public:
  using Judge = std::function<void(const rec::OpenedSegment&)>;
  explicit Processor(std::uint16_t port = 0) : key_(crypto::BoxKey::make(random_)) {
    net::Router router;
    router.add(net::Method::post, "/api/v1/segments", [this](net::Request& request) { return take(request); }, {.max_body = 32 << 20});
    net::ServerConfig config;
    config.port = port;
    config.worker_threads = 4;
    server_ = std::make_unique<net::Server>(
        config, std::move(router), [](const net::Request&) { return std::optional<std::string>("test"); },
        [](const net::RequestRecord&) {});
    server_->start();
  }
  ~Processor() { server_->stop(std::chrono::seconds(1)); }

  std::uint16_t port() const { return server_->port(); }
  const crypto::BoxPublicKey& key() const { return key_.public_key(); }
  std::shared_ptr<net::Client> client() const { return client_of(port()); }
  void judge(Judge judge) {
    std::lock_guard lock(mutex_);
    judge_ = std::move(judge);
  }
  void expect_from(const Id& session, std::uint64_t sequence) {
    std::lock_guard lock(mutex_);
    next_[session] = sequence;
  }
  std::vector<rec::OpenedSegment> segments(const Id& session) {
    std::lock_guard lock(mutex_);
    std::vector<rec::OpenedSegment> out;
    for (const auto& segment : taken_)
      if (segment.session == session) out.push_back(segment);
    return out;
  }
  std::size_t count() {
    std::lock_guard lock(mutex_);
    return taken_.size();
  }
  bool ended(const Id& session) {
    auto all = segments(session);
    return !all.empty() && (all.back().flags & rec::kEnd) != 0;
  }
  std::size_t most_at_once() const { return most_at_once_; }
  // Every record of the session, segment after segment.
  std::vector<rec::Record> records(const Id& session) {
    std::vector<rec::Record> out;
    for (const auto& segment : segments(session)) {
      rec::RecordReader reader(segment.records);
      for (;;) {
        auto record = reader.next();
        if (!record) {
          ADD_FAILURE() << "segment " << segment.sequence << ": " << record.error().what();
          break;
        }
        if (!*record) break;
        out.push_back(**record);
      }
    }
    return out;
  }
  crypto::BoxKey& box() { return key_; }

 private:
  net::Response take(net::Request& request) {
    auto header = rec::parse_spool_header(request.body);
    if (!header) throw header.error();
    auto key = rec::open_spool_key(*header, key_);
    if (!key) throw Error(ErrorKind::corrupt, "no_key", "not sealed to this processor");
    auto opened = rec::open_segment(request.body, *header, *key);
    if (!opened) throw opened.error();
    bool crash = request.headers.get("X-Lucid-Final-Part") == "crash";
    if (!opened->closed && !crash) throw Error(ErrorKind::malformed, "segment_cut", "cut");
    Judge judge;
    {
      std::lock_guard lock(mutex_);
      judge = judge_;
      most_at_once_ = std::max<std::size_t>(most_at_once_, ++under_way_[opened->session]);
    }
    struct Leave {
      std::function<void()> f;
      ~Leave() { f(); }
    } leave{[&] {
      std::lock_guard lock(mutex_);
      --under_way_[opened->session];
    }};
    if (judge) judge(*opened);
    std::lock_guard lock(mutex_);
    std::uint64_t& next = next_[opened->session];
    if (opened->sequence > next)
      throw Error(ErrorKind::conflict, "out_of_order", "out of order").with_fields({{"/expected", std::to_string(next)}});
    if (opened->sequence == next) {
      ++next;
      taken_.push_back(std::move(*opened));
    }
    return net::Response::json(200,
                               json::object{{"session_id", opened->session.text()}, {"sequence", opened->sequence}, {"tree_size", next}});
  }

  SystemRandom random_;
  crypto::BoxKey key_;
  std::mutex mutex_;
  Judge judge_;
  std::map<Id, std::uint64_t> next_;
  std::map<Id, std::size_t> under_way_;
  std::vector<rec::OpenedSegment> taken_;
  std::atomic<std::size_t> most_at_once_{0};
  std::unique_ptr<net::Server> server_;
};

// Remembers what it is told; `lose` makes heartbeat answers name a session under that token as lost.
class Pipeline {
 public:
  Pipeline() {
    net::Router router;
    router.add(net::Method::post, "/api/v1/heartbeats", [this](net::Request& request) {
      json::value body = request.json_body();
      std::lock_guard lock(mutex_);
      ++beats_;
      last_beat_ = json::serialize(body);
      json::array lost;
      for (const json::value& beat : body.at("recordings").as_array())
        for (const auto& [id, token] : lost_)
          if (beat.at("session_id").as_string() == id.text() && beat.at("fencing_token").to_number<std::uint64_t>() == token)
            lost.push_back(json::value(id.text()));
      return net::Response::json(200, json::object{{"lost", std::move(lost)}, {"unknown", json::array{}}});
    });
    router.add(net::Method::post, "/api/v1/recordings/{id}/reports", [this](net::Request& request) {
      json::value body = request.json_body();
      std::lock_guard lock(mutex_);
      reports_.push_back(std::string(body.at("event").as_string()));
      return net::Response::empty();
    });
    server_ = std::make_unique<net::Server>(
        net::ServerConfig{}, std::move(router), [](const net::Request&) { return std::optional<std::string>("test"); },
        [](const net::RequestRecord&) {});
    server_->start();
  }
  ~Pipeline() { server_->stop(std::chrono::seconds(1)); }
  std::uint16_t port() const { return server_->port(); }
  std::shared_ptr<net::Client> client() const { return client_of(port()); }
  void lose(const Id& id, std::uint64_t token) {
    std::lock_guard lock(mutex_);
    lost_.emplace_back(id, token);
  }
  bool reported(const std::string& event) {
    std::lock_guard lock(mutex_);
    return std::find(reports_.begin(), reports_.end(), event) != reports_.end();
  }
  int beats() {
    std::lock_guard lock(mutex_);
    return beats_;
  }
  std::string last_beat() {
    std::lock_guard lock(mutex_);
    return last_beat_;
  }

 private:
  std::mutex mutex_;
  int beats_ = 0;
  std::string last_beat_;
  std::vector<std::string> reports_;
  std::vector<std::pair<Id, std::uint64_t>> lost_;
  std::unique_ptr<net::Server> server_;
};

inline Id new_id() { return Id(SystemRandom().array<16>()); }

inline Bytes records_of(std::int64_t ms, const std::string& text) {
  Bytes out;
  rec::append(out, {ms, rec::Annotation{"test", text}});
  return out;
}

}  // namespace lucid::recorder::testing
