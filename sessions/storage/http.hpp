// The routes of session-storage (lib/contracts/storage.hpp names them). `storage` outlives the router.
#pragma once

#include "lib/net/http.hpp"
#include "sessions/storage/storage.hpp"

namespace lucid::storage {

net::Router routes(Storage& storage);

}  // namespace lucid::storage
