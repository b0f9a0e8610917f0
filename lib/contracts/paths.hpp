// Where a session is found at the services that know it by /api/v1/sessions. Pure; any thread.
#pragma once

#include <string>

#include "lib/base/id.hpp"

namespace lucid::contracts {

inline std::string session_path(const Id& session) { return "/api/v1/sessions/" + session.text(); }

}  // namespace lucid::contracts
