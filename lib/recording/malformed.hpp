// The error of bytes that are not what their format says. Private to lib/recording.
#pragma once

#include <expected>
#include <string>

#include "lib/base/error.hpp"

namespace lucid::recording {

inline std::unexpected<Error> malformed(const std::string& message) { return std::unexpected(Error(ErrorKind::malformed, message)); }

}  // namespace lucid::recording
