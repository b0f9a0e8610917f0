// Test helper: a real HTTP receiver of webhooks that answers as told and remembers what came, and documents that fail. For tests only.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>

#include "lib/net/server.hpp"
#include "lib/store/memory_documents.hpp"

namespace lucid::webhooks::test {

struct Delivery {
  std::string id, timestamp, signature, body, content_type;
  std::string type() const { return std::string(parse_json(body)->at("type").as_string()); }
  std::int64_t number() const { return parse_json(body)->at("data").at("n").as_int64(); }
};

class Receiver {
 public:
  using Answer = std::function<net::Response(const Delivery&, std::size_t number)>;  // number: 1, 2, … of all deliveries
  explicit Receiver(
      Answer answer = [](const Delivery&, std::size_t) { return net::Response::empty(); }, int threads = 2)
      : answer_(std::move(answer)) {
    net::Router router;
    router.add(net::Method::post, "/hook/{name}",
               [this](net::Request& r) {
                 auto header = [&](const char* name) { return std::string(r.headers.get(name).value_or("")); };
                 Delivery d{header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"), std::string(as_text(r.body)),
                            header("Content-Type")};
                 std::size_t number;
                 {
                   std::lock_guard lock(mutex_);
                   came_.push_back(d);
                   number = came_.size();
                   changed_.notify_all();
                 }
                 return answer_(d, number);
               },
               {.auth = net::Auth::open});
    server_ = std::make_unique<net::Server>(net::ServerConfig{.worker_threads = threads, .io_threads = 1}, std::move(router),
                                            net::Authenticator{}, net::Observer{});
    server_->start();
  }
  std::string url(const std::string& name = "a") const { return base() + "/hook/" + name; }
  std::string base() const { return "http://127.0.0.1:" + std::to_string(server_->port()); }
  std::uint16_t port() const { return server_->port(); }
  // Once `count` deliveries have come; fewer after ten seconds.
  std::vector<Delivery> wait_for(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(10), [&] { return came_.size() >= count; });
    return came_;
  }
  std::vector<Delivery> came() { return wait_for(0); }

 private:
  Answer answer_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Delivery> came_;
  std::unique_ptr<net::Server> server_;
};

// Writes fail as `fail` decides by their number (1, 2, …); every write is told to whoever waits.
class FailingDocuments final : public store::Documents {
  template <class Write>
  auto write(Write inner) {
    struct Tell {
      FailingDocuments& owner;
      ~Tell() {
        std::lock_guard lock(owner.mutex_);
        ++owner.writes_;
        owner.changed_.notify_all();
      }
    };
    {
      std::lock_guard lock(mutex_);
      if (fail_(writes_ + 1)) {
        ++failed_;
        ++writes_;
        changed_.notify_all();
        throw Error(ErrorKind::unavailable, "the disk is away");
      }
    }
    Tell tell{*this};
    return inner();
  }

 public:
  FailingDocuments(store::Documents& inner, std::function<bool(int)> fail) : inner_(inner), fail_(std::move(fail)) {}
  bool insert(const std::string& c, const std::string& k, const std::string& j) override {
    return write([&] { return inner_.insert(c, k, j); });
  }
  std::vector<bool> insert_many(std::span<const Insert> inserts) override {
    return write([&] { return inner_.insert_many(inserts); });
  }
  std::optional<store::Document> get(const std::string& c, const std::string& k) override { return inner_.get(c, k); }
  bool replace(const std::string& c, const std::string& k, const std::string& j, std::int64_t v) override {
    return write([&] { return inner_.replace(c, k, j, v); });
  }
  void put(const std::string& c, const std::string& k, const std::string& j) override {
    write([&] {
      inner_.put(c, k, j);
      return true;
    });
  }
  bool remove(const std::string& c, const std::string& k) override {
    return write([&] { return inner_.remove(c, k); });
  }
  std::uint64_t remove_range(const std::string& c, const std::string& f, const std::string& t) override {
    return write([&] { return inner_.remove_range(c, f, t); });
  }
  std::vector<store::Document> scan(const std::string& c, const store::Scan& s) override { return inner_.scan(c, s); }
  std::uint64_t count(const std::string& c, const std::string& f, const std::string& t) override { return inner_.count(c, f, t); }

  int writes() {
    std::lock_guard lock(mutex_);
    return writes_;
  }
  int failed() {
    std::lock_guard lock(mutex_);
    return failed_;
  }
  // Whether `done` came true after some write, before ten seconds were over; `between` is called now and then.
  bool wait_until(const std::function<bool()>& done, const std::function<void()>& between = [] {}) {
    auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!done()) {
      std::unique_lock lock(mutex_);
      int seen = writes_;
      changed_.wait_for(lock, std::chrono::milliseconds(10), [&] { return writes_ != seen; });
      lock.unlock();
      between();
      if (std::chrono::steady_clock::now() > deadline) return false;
    }
    return true;
  }

 private:
  store::Documents& inner_;
  std::function<bool(int)> fail_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int writes_ = 0, failed_ = 0;
};

}  // namespace lucid::webhooks::test
