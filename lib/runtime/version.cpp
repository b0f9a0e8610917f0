#include "lib/runtime/version.hpp"

namespace lucid::runtime {

const char* version() { return LUCID_VERSION; }

}  // namespace lucid::runtime
