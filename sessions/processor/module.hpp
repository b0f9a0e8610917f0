// The row of chunk-processor in the module table.
#pragma once

#include "lib/runtime/service.hpp"

namespace lucid::processor {

runtime::Module module();

}  // namespace lucid::processor
