// The row of session-storage in the module table.
#pragma once

#include "lib/runtime/service.hpp"

namespace lucid::storage {

runtime::Module module();

}  // namespace lucid::storage
