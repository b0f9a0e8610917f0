// What wiring needs of rdp-server-manager: its row in the module table.
#pragma once

#include "lib/runtime/service.hpp"

namespace lucid::server_manager {

runtime::Module module();

}  // namespace lucid::server_manager
