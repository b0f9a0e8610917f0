// The row of session-pipeline in the module table.
#pragma once

#include "lib/runtime/service.hpp"

namespace lucid::pipeline {

runtime::Module module();

}  // namespace lucid::pipeline
