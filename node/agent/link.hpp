// Signed requests of a node to node-management. They go out one at a time, so that sequences arrive in order; a large answer leaves the way
// free for the next request from its first byte on. Any thread. Throws lucid::Error as the service said it.
#pragma once

#include <mutex>

#include "lib/net/client.hpp"
#include "node/agent/identity.hpp"

namespace lucid::node_agent {

class Link {
 public:
  Link(net::Client& http, Identity& identity) : http_(http), identity_(identity) {}

  net::Response send(net::Method method, const std::string& target, ByteView body = {}) {
    return send({.method = method, .target = target, .body = body});
  }
  Bytes fetch(const std::string& target, std::size_t max_bytes, std::chrono::milliseconds timeout) {
    Bytes out;
    net::Call call{.method = net::Method::get, .target = target};
    call.timeout = timeout;
    std::unique_lock lock(mutex_);
    call.sink = [&](ByteView piece) {
      if (lock.owns_lock()) lock.unlock();
      if (out.size() + piece.size() > max_bytes) throw Error(ErrorKind::too_large, target + " is larger than a chunk can be");
      out.insert(out.end(), piece.begin(), piece.end());
    };
    signed_once_or_twice(std::move(call));
    return out;
  }

 private:
  net::Response send(net::Call call) {
    if (!call.body.empty()) call.content_type = "application/json";
    std::lock_guard lock(mutex_);
    return signed_once_or_twice(std::move(call));
  }
  net::Response signed_once_or_twice(net::Call call) {
    for (bool again = false;; again = true) {
      contracts::NodeSignature signature{identity_.place()->node, identity_.next_sequence(), {}};
      signature.signature =
          identity_.key().sign(as_bytes(contracts::signed_text(net::name(call.method), call.target, signature.sequence, call.body)));
      call.headers.set(contracts::kNodeHeader, contracts::node_header(signature));
      try {
        return http_.expect(call);
      } catch (const Error& e) {
        // The service has started anew and refuses what it may have seen, or this request reached it twice.
        auto used = contracts::replayed_sequence(e);
        if (!used || again) throw;
        identity_.skip_to(*used);
      }
    }
  }

  net::Client& http_;
  Identity& identity_;
  std::mutex mutex_;
};

}  // namespace lucid::node_agent
