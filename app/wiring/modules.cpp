#include "app/wiring/modules.hpp"

#include "node/management/module.hpp"
#include "rdp/controller/module.hpp"
#include "rdp/gateway/module.hpp"
#include "rdp/monitor/module.hpp"
#include "rdp/server-manager/module.hpp"
#include "sessions/api/module.hpp"
#include "sessions/pipeline/module.hpp"
#include "sessions/processor/module.hpp"
#include "sessions/recorder/module.hpp"
#include "sessions/storage/module.hpp"

namespace lucid::app {

// Each module says what it starts after; the door to the outside opens last and closes first.
std::vector<runtime::Module> modules() {
  return {storage::module(),    processor::module(), pipeline::module(),        recorder::module(), server_manager::module(),
          controller::module(), gateway::module(),   node_management::module(), monitor::module(),  api::module()};
}

}  // namespace lucid::app
