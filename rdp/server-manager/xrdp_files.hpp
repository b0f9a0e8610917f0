// The texts of xrdp.ini and sesman.ini, with keys xrdp 0.9.21 knows and no other. Pure. Source: xrdp.ini(5), sesman.ini(5).
#pragma once

#include <cstdint>
#include <string>

namespace lucid::server_manager {

struct XrdpIni {
  std::uint16_t port = 0;
  int color_depth = 24;
  std::string account;  // the only one that can log in here, whatever name a client sends
  std::string certificate, key, log;
};
std::string xrdp_ini(const XrdpIni& with);

struct SesmanIni {
  std::string hook;  // the window manager of every session
  std::string log;
  std::string xorg;
};
std::string sesman_ini(const SesmanIni& with);

}  // namespace lucid::server_manager
