#include "node/management/hosting.hpp"

#include "lib/contracts/pipeline.hpp"

namespace lucid::node_management {

MeasureHosting hosting_by_pipeline(std::shared_ptr<net::Client> pipeline) {
  return [pipeline](const std::set<Id>& sessions) {
    std::map<Id, Committed> out;
    std::string cursor;
    do {
      json::value page =
          pipeline->get_json("/api/v1/recordings?limit=100" + (cursor.empty() ? "" : "&cursor=" + net::percent_encode(cursor)));
      const json::object* object = page.if_object();
      const json::value* list = object != nullptr ? object->if_contains("recordings") : nullptr;
      const json::value* next = object != nullptr ? object->if_contains("cursor") : nullptr;
      if (list == nullptr || !list->is_array() || next == nullptr || !next->is_string())
        throw Error(ErrorKind::malformed, "session-pipeline's list of recordings has a missing or wrong field");
      cursor.assign(next->get_string().data(), next->get_string().size());
      for (const json::value& item : list->get_array()) {
        auto status = contracts::read_recording_status(item);
        if (sessions.contains(status.session)) out[status.session] = {status.committed_bytes, status.started_wall_ms};
        // Newest first: nothing that is asked for comes after its oldest id.
        if (status.session < *sessions.begin()) cursor.clear();
      }
    } while (!cursor.empty() && out.size() < sessions.size());
    return out;
  };
}

}  // namespace lucid::node_management
