// The row of xrdp-integration in the module table.
#pragma once

#include "lib/runtime/service.hpp"

namespace lucid::gateway {

runtime::Module module();

}  // namespace lucid::gateway
