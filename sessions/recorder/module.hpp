// The row of the module table for session-recorder. Used by app/wiring, at start.
#pragma once

#include "lib/runtime/service.hpp"

namespace lucid::recorder {

runtime::Module module();

}  // namespace lucid::recorder
