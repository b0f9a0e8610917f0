// What wiring needs of session-controller.
#pragma once

#include "lib/runtime/service.hpp"

namespace lucid::controller {

runtime::Module module();

}  // namespace lucid::controller
