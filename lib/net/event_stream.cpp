#include "lib/net/event_stream.hpp"

#include <algorithm>

namespace lucid::net {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::milliseconds kWait{2'000};
constexpr std::chrono::seconds kQuiet{15};
constexpr std::size_t kMaxEventId = 64;

struct Stream {
  std::string after;
  NextEvents next;
  std::shared_ptr<void> slot;
  // Told at once, so that the client knows the stream is open.
  std::string pending = "retry: 2000\n\n";

  // The next piece of text; empty when the stream has ended.
  std::string take() {
    if (!pending.empty()) return std::exchange(pending, {});
    std::string text;
    for (auto quiet_until = steady_clock::now() + kQuiet; text.empty();) {
      auto events = next(after, kWait);
      if (!events) return {};
      for (const StreamEvent& event : *events) {
        text.append("event: ").append(event.kind).append("\nid: ").append(event.id).append("\ndata: ").append(event.data).append("\n\n");
        after = event.id;
      }
      if (text.empty() && steady_clock::now() >= quiet_until) text = ":\n\n";
    }
    return text;
  }
};

}  // namespace

std::shared_ptr<void> StreamSlots::take() {
  if (taken_->fetch_add(1) >= limit_) {
    taken_->fetch_sub(1);
    throw Error(ErrorKind::unavailable, "too_many_streams", "as many event streams are open as this service carries; try again later")
        .with_retry_after(std::chrono::seconds(10));
  }
  return {this, [taken = taken_](void*) { taken->fetch_sub(1); }};
}

Response event_stream(const Request& request, std::string newest, NextEvents next, std::shared_ptr<void> slot) {
  std::string after = std::move(newest);
  if (auto last = request.headers.get("Last-Event-ID"); last && last->size() <= kMaxEventId) after = std::string(*last);
  auto stream = std::make_shared<Stream>(Stream{std::move(after), std::move(next), std::move(slot)});
  Response response;
  response.headers.set("Content-Type", "text/event-stream");
  response.headers.set("Cache-Control", "no-store");
  // What did not fit into the piece asked for waits for the next.
  auto rest = std::make_shared<std::string>();
  response.stream = [stream, rest](std::span<std::uint8_t> out) {
    if (rest->empty()) *rest = stream->take();
    std::size_t n = std::min(out.size(), rest->size());
    std::copy_n(rest->begin(), n, out.begin());
    rest->erase(0, n);
    return n;
  };
  return response;
}

bool wants_event_stream(const Request& request) {
  auto accept = request.headers.get("Accept");
  return accept && accept->find("text/event-stream") != std::string_view::npos;
}

}  // namespace lucid::net
