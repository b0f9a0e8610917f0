// The module table: every service `lucid serve` can run, with its code. Pure; any thread.
#pragma once

#include <vector>

#include "lib/runtime/service.hpp"

namespace lucid::app {

std::vector<runtime::Module> modules();

}  // namespace lucid::app
