// Test helper: a server with a few usual routes, and what its observer saw. For tests of lib/net only.
#pragma once

#include <atomic>
#include <mutex>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/net/raw_peer.hpp"

namespace lucid::net {

inline constexpr RouteOptions kOpen{.auth = Auth::open};

struct Seen {
  std::string route, error, request_id, principal;
  int status;
  std::uint64_t request_bytes, response_bytes;
};

class ServerTest : public testing::Test {
 protected:
  void start(Router router, ServerConfig config = short_deadlines()) {
    auto authenticate = [](const Request& request) -> std::optional<std::string> {
      if (request.headers.get("Authorization") == "Bearer good") return "admin";
      return std::nullopt;
    };
    server_ = std::make_unique<Server>(config, std::move(router), authenticate, [this](const RequestRecord& r) {
      std::lock_guard lock(mutex_);
      seen_.push_back({std::string(r.route), std::string(r.error), std::string(r.request_id), std::string(r.principal), r.status,
                       r.request_bytes, r.response_bytes});
    });
    server_->start();
  }
  Router usual() {
    Router router;
    router.add(Method::get, "/hello", [](Request&) { return Response::text("hello"); }, {.run = Run::inline_, .auth = Auth::open});
    router.add(
        Method::get, "/items/{id}",
        [this](Request& r) {
          ++handled_;
          return Response::text(r.param("id"));
        },
        kOpen);
    router.add(Method::get, "/items/special", [](Request&) { return Response::text("the special one"); }, kOpen);
    router.add(Method::put, "/items/{id}",
               [this](Request& r) {
                 ++handled_;
                 return Response::bytes(r.body);
               },
               {.max_body = 1000, .auth = Auth::open});
    router.add(Method::get, "/private", [](Request& r) { return Response::text(r.principal); });
    router.add(Method::put, "/private",
               [this](Request& r) {
                 ++handled_;
                 return Response::text(r.principal);
               },
               {.max_body = 4 << 20});
    router.add(
        Method::get, "/refused",
        [](Request&) -> Response { throw Error(ErrorKind::conflict, "illegal_transition", "it cannot").with_fields({{"/a", "bad"}}); },
        kOpen);
    router.add(Method::get, "/broken", [](Request&) -> Response { throw std::runtime_error("password=hunter2"); }, kOpen);
    router.add(
        Method::get, "/echo",
        [](Request& r) { return Response::text(r.query_text("q").value_or("-") + "|" + r.request_id + "|" + r.traceparent); }, kOpen);
    return router;
  }
  std::string ask(const std::string& request) {
    RawPeer peer(server_->port());
    peer.send(request);
    peer.finish_sending();
    return peer.read_all();
  }
  std::string get(const std::string& target, const std::string& headers = "") {
    return ask("GET " + target + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + headers + "\r\n");
  }
  std::vector<Seen> seen() {
    std::lock_guard lock(mutex_);
    return seen_;
  }

  std::atomic<int> handled_ = 0;
  std::mutex mutex_;
  std::vector<Seen> seen_;
  std::unique_ptr<Server> server_;  // last: it still observes while it is destroyed
};

}  // namespace lucid::net
