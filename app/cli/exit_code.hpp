// Exit codes a script can rely on; every command's --help lists them. Pure.
#pragma once

#include <algorithm>
#include <array>
#include <string_view>

#include "lib/base/error.hpp"

namespace lucid::cli {

enum Exit : int {
  kOk = 0,
  kFailed = 1,       // the operation failed, or what was checked is altered or unhealthy
  kUsage = 2,        // wrong arguments, or input that cannot be read
  kUnreachable = 3,  // the server, or a service it needs, does not answer
  kNotFound = 4,
  kConflict = 5,  // the server's state does not allow it
};

inline constexpr const char* kExitCodes =
    "Exit codes: 0 ok, 1 the operation failed (or altered, unhealthy), 2 usage or unreadable input,\n"
    "3 server unreachable, 4 not found, 5 conflict.";

// The server, or a service behind it, did not answer; other reasons to come back later (a display that is not there) are
// failures of the operation.
inline bool nobody_answered(const Error& error) {
  constexpr std::array<std::string_view, 6> kCodes{"no_server",       "unreachable", "timeout",
                                                   "connection_lost", "bad_answer",  "pipeline_unavailable"};
  return std::find(kCodes.begin(), kCodes.end(), error.code()) != kCodes.end();
}

inline Exit exit_code(const Error& error) {
  switch (error.kind()) {
    case ErrorKind::malformed:
    case ErrorKind::invalid:
    case ErrorKind::too_large:
    case ErrorKind::unsupported_media: return kUsage;
    case ErrorKind::unavailable: return nobody_answered(error) ? kUnreachable : kFailed;
    case ErrorKind::not_found: return kNotFound;
    case ErrorKind::conflict: return kConflict;
    default: return kFailed;
  }
}

}  // namespace lucid::cli
