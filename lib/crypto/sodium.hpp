// Starts libsodium once, before its first use; every file of this folder that calls libsodium calls this first. Private
// to lib/crypto. Any thread; throws Error{internal} where libsodium refuses to start.
#pragma once

namespace lucid::crypto {

void sodium_ready();

}  // namespace lucid::crypto
