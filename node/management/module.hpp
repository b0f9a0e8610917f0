// The row of node-management in the module table.
#pragma once

#include "lib/runtime/service.hpp"

namespace lucid::node_management {

runtime::Module module();

}  // namespace lucid::node_management
