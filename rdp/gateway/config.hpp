// Settings of xrdp-integration, declared in module.cpp and read once at start.
#pragma once

#include <cstdint>
#include <string>

namespace lucid::gateway {

// What one address may do. Addresses are IPv4 addresses or IPv6 /64 networks.
struct GuardConfig {
  double connections_per_second = 5;  // new ones, lasting
  double burst = 30;
  std::size_t concurrent = 64;
  int ban_after = 10;                   // failures …
  std::int64_t ban_window_ms = 60'000;  // … within this time
  std::int64_t ban_ms = 300'000;
  bool exempt_loopback = false;
  std::size_t max_addresses = 65'536;  // remembered; those that say least are forgotten first
};

struct Config {
  std::string host = "127.0.0.1";
  std::uint16_t port = 3389;  // 0: any free one
  int threads = 0;            // 0: one a core
  std::size_t max_connections = 4'096;
  std::int64_t handshake_timeout_ms = 5'000;  // from accept to the client's whole request
  std::int64_t admission_timeout_ms = 5'000;
  std::int64_t upstream_timeout_ms = 3'000;  // connect, and the upstream's confirm
  std::int64_t linger_ms = 1'000;            // for a refused client to read the reason
  std::int64_t half_closed_ms = 30'000;      // without a byte, after one side ended its direction
  GuardConfig guard;
};

}  // namespace lucid::gateway
