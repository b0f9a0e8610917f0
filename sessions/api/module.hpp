// What app/wiring needs of session-api: one row of the module table.
#pragma once

#include "lib/runtime/service.hpp"

namespace lucid::api {

runtime::Module module();

}  // namespace lucid::api
