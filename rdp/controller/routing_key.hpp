// The key that signs routing tokens: DATA/controller/routing.key, mode 0600, one line, made at the first start and only read later. Written
// whole or not at all; survives power loss. Error{unavailable, "key_mode" | "key_malformed" | "key_unreadable"} names the file.
#pragma once

#include <string>

#include "lib/base/file_ops.hpp"
#include "lib/crypto/signature.hpp"

namespace lucid::controller {

crypto::SigningKey routing_key(const std::string& path, FileOps& files, RandomSource& random);

}  // namespace lucid::controller
