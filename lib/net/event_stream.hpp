// Server-sent events out of a source that can be waited on. A stream holds one worker thread while it lasts, so each server bounds how many
// there are (StreamSlots) and has that many workers more. A comment every 15 s keeps the connection alive and finds clients that have left.
// Thread-safe. Source: WHATWG HTML, section 9.2 "Server-sent events".
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/net/http.hpp"

namespace lucid::net {

struct StreamEvent {
  std::string id, kind, data;  // data without line ends
};

// Events after the one of id `after`, oldest first; waits up to `wait` for one. Empty: none came. nullopt: the stream ends.
using NextEvents = std::function<std::optional<std::vector<StreamEvent>>(const std::string& after, std::chrono::milliseconds wait)>;

class StreamSlots {
 public:
  explicit StreamSlots(int limit) : limit_(limit) {}
  // Held by a stream while it lasts. Error{unavailable, "too_many_streams"} when all are taken.
  std::shared_ptr<void> take();

 private:
  const int limit_;
  std::shared_ptr<std::atomic<int>> taken_ = std::make_shared<std::atomic<int>>(0);
};

// Begins after the request's Last-Event-ID, else after `newest`.
Response event_stream(const Request& request, std::string newest, NextEvents next, std::shared_ptr<void> slot);
// Whether the client asked for a stream rather than for JSON.
bool wants_event_stream(const Request& request);

}  // namespace lucid::net
