// The routes of resource-monitor (8090): what is measured, its past, alert rules and what became of them. session-api shows the same paths.
#pragma once

#include "lib/net/event_stream.hpp"
#include "lib/webhooks/webhooks.hpp"
#include "rdp/monitor/feed.hpp"
#include "rdp/monitor/history/history.hpp"
#include "rdp/monitor/monitor.hpp"

namespace lucid::monitor {

struct Desk {
  Monitor& monitor;
  const History& history;
  Alerts& alerts;
  Feed& feed;
  webhooks::Webhooks& webhooks;
  const Clock& clock;
};

inline constexpr int kMaxStreams = 16;

// `desk` must outlive the router.
net::Router routes(Desk& desk);

}  // namespace lucid::monitor
