#include "rdp/server-manager/event_ring.hpp"

#include <algorithm>
#include <charconv>

namespace lucid::server_manager {
namespace {

constexpr std::size_t kKept = 4096, kPage = 256;
constexpr std::uint64_t kBlock = 1000;

}  // namespace

EventRing::EventRing(store::Documents& documents) : documents_(documents) {
  if (auto kept = documents_.get("host", "events")) {
    auto value = parse_json(kept->json);
    const json::value* reserved = value && value->is_object() ? value->get_object().if_contains("reserved") : nullptr;
    if (reserved == nullptr || !reserved->is_number())
      throw Error(ErrorKind::corrupt, "read the reserved event numbers: the document host/events is damaged");
    last_ = reserved_ = reserved->to_number<std::uint64_t>();
  }
}

void EventRing::reserve() {
  documents_.put("host", "events", json::serialize(json::object{{"reserved", reserved_ + kBlock}}));
  reserved_ += kBlock;
}

void EventRing::add(const Id& server, contracts::ServerState state, std::string cause) {
  std::lock_guard lock(mutex_);
  if (last_ == reserved_) reserve();
  events_.push_back({++last_, server, state, std::move(cause)});
  if (events_.size() > kKept) events_.pop_front();
  changed_.notify_all();
}

contracts::ServerEvents EventRing::after(std::uint64_t after, std::chrono::milliseconds wait) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, wait, [&] { return stopping_ || (!events_.empty() && events_.back().seq > after); });
  contracts::ServerEvents answer{.events = {}, .next = after};
  auto from = std::ranges::upper_bound(events_, after, {}, &contracts::ServerEvent::seq);
  for (; from != events_.end() && answer.events.size() < kPage; ++from) answer.events.push_back(*from);
  if (!answer.events.empty()) answer.next = answer.events.back().seq;
  return answer;
}

void EventRing::stop() {
  std::lock_guard lock(mutex_);
  stopping_ = true;
  changed_.notify_all();
}

}  // namespace lucid::server_manager
