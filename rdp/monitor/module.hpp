// What wiring needs of resource-monitor.
#pragma once

#include "lib/runtime/service.hpp"

namespace lucid::monitor {

runtime::Module module();

}  // namespace lucid::monitor
