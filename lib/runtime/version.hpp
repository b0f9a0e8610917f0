// The version of this build ("0.1.0"), as /version and lucid_build_info show it. Any thread.
#pragma once

namespace lucid::runtime {

const char* version();

}  // namespace lucid::runtime
