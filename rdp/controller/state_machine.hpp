// The life of an RDP session as a table: which trigger leads from which state to which. Pure; any thread.
//   requested → starting_server → waiting_display → starting_recording → ready ⇄ connected; both ⇄ paused
//   starting_server → ready for named accounts: their X display starts when the client logs in
//   any live state → ending → ended | failed
#pragma once

#include <optional>

#include "lib/contracts/controller.hpp"

namespace lucid::controller {

using State = contracts::RdpState;

enum class Trigger {
  begin,         // the driver took it up
  server_ready,  // xrdp answers; ephemeral accounts wait for their display
  login_ready,   // xrdp answers; named accounts may connect
  display,       // the start hook reported its X display
  released,      // the hook was let go on to the desktop
  opened,        // a client is through
  closed,        // no client any more
  pause,         // asked for
  resume,        // asked for
  end,           // a limit, a wish, or something broke
  ended,
  failed,  // nothing is left of it
};
const char* name(Trigger trigger);

// The state after `trigger`, or nullopt: illegal.
std::optional<State> next(State state, Trigger trigger);
bool is_over(State state);        // ended, failed
bool takes_clients(State state);  // ready, connected

}  // namespace lucid::controller
