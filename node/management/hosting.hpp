// What session-pipeline says was committed of the sessions placed on nodes: GET /api/v1/recordings, page by page. Any thread; throws lucid::Error.
#pragma once

#include <memory>

#include "lib/net/client.hpp"
#include "node/management/epochs.hpp"

namespace lucid::node_management {

MeasureHosting hosting_by_pipeline(std::shared_ptr<net::Client> pipeline);

}  // namespace lucid::node_management
