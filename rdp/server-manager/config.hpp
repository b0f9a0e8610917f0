// Settings of rdp-server-manager, declared in module.cpp and read once at start, and the places and programs it uses. Value type.
#pragma once

#include <cstdint>
#include <string>

namespace lucid::server_manager {

// Debian's places; tests name others.
struct Paths {
  std::string data;                                  // DATA/rdp: servers, tls, sesman, manager.db
  std::string host_lock = "/run/lucid-rdp.lock";     // one manager per host, whatever its data directory
  std::string run = "/run/lucid-rdp";                // hook socket and the hook's copy; root, 0755
  std::string hook_fallback = "/var/lib/lucid-rdp";  // the hook's copy where /run is mounted noexec
  std::string hook;                                  // the built lucid-session-start, copied from here
  std::string xrdp = "/usr/sbin/xrdp", sesman = "/usr/sbin/xrdp-sesman", sesrun = "/usr/bin/xrdp-sesrun";
  std::string xorg = "/usr/lib/xorg/Xorg";
  std::string xorg_module = "/usr/lib/xorg/modules/libxorgxrdp.so";
  std::string sockdir = "/run/xrdp/sockdir";
};

struct Config {
  Paths paths;
  int warm_servers = 1;
  int max_servers = 50;
  std::string tls_certificate, tls_key;  // PEM files; both empty: self-signed, made at the first start
  std::uint16_t first_port = 13389, last_port = 14389;
};

}  // namespace lucid::server_manager
