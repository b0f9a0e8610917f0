#include "rdp/server-manager/xrdp_files.hpp"

#include <fmt/format.h>

namespace lucid::server_manager {

// autorun with require_credentials: what the client sends is the login, there is no login screen to paint passwords into. xserverbpp is part of
// how sesman finds a user's session (user and depth); X itself always runs at 24, so every client lands on the one display.
std::string xrdp_ini(const XrdpIni& with) {
  return fmt::format(R"([Globals]
ini_version=1
fork=true
port=tcp://127.0.0.1:{}
use_vsock=false
tcp_nodelay=true
tcp_keepalive=true
security_layer=tls
crypt_level=high
certificate={}
key_file={}
ssl_protocols=TLSv1.2, TLSv1.3
autorun=Xorg
require_credentials=true
hidelogwindow=true
allow_channels=true
allow_multimon=true
bitmap_cache=true
bitmap_compression=true
bulk_compression=true
max_bpp={}
new_cursors=true
use_fastpath=both

[Logging]
LogFile={}
LogLevel=INFO
EnableSyslog=false

[LoggingPerLogger]

[Channels]
rdpdr=true
rdpsnd=true
drdynvc=true
cliprdr=true
rail=true
xrdpvr=true
tcutils=true

[Xorg]
name=Xorg
lib=libxup.so
username={}
password=ask
ip=127.0.0.1
port=-1
xserverbpp=24
code=20
)",
                     with.port, with.certificate, with.key, with.color_depth, with.log, with.account);
}

// MaxSessions is ours to limit, not sesman's (it looks for a free display among that many). Nothing runs at a reconnect: the desktop is the same.
std::string sesman_ini(const SesmanIni& with) {
  return fmt::format(R"([Globals]
ListenAddress=127.0.0.1
ListenPort=3350
EnableUserWindowManager=false
DefaultWindowManager={}
ReconnectScript=/bin/true

[Security]
AllowRootLogin=false
MaxLoginRetry=4
AlwaysGroupCheck=false
RestrictOutboundClipboard=none
RestrictInboundClipboard=none

[Sessions]
X11DisplayOffset=10
MaxSessions=1000
KillDisconnected=false
DisconnectedTimeLimit=0
IdleTimeLimit=0
Policy=Default

[Logging]
LogFile={}
LogLevel=INFO
EnableSyslog=false

[LoggingPerLogger]

[Xorg]
param={}
param=-config
param=xrdp/xorg.conf
param=-noreset
param=-nolisten
param=tcp
param=-logfile
param=.xorgxrdp.%s.log

[Chansrv]
FuseMountName=thinclient_drives
EnableFuseMount=false
FileUmask=077

[ChansrvLogging]
LogLevel=WARNING
EnableSyslog=false

[ChansrvLoggingPerLogger]

[SessionVariables]
PULSE_SCRIPT=/etc/xrdp/pulse/default.pa
)",
                     with.hook, with.log, with.xorg);
}

}  // namespace lucid::server_manager
