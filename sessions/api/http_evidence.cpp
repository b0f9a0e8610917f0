// Routes that hand out a recording's evidence: checkpoint, proofs, manifest, bundle, and verification on the server.
#include "sessions/api/http.hpp"
#include "sessions/api/proof.hpp"

namespace lucid::api {
namespace {

std::optional<std::uint64_t> size_parameter(const net::Request& r, const std::string& name) {
  if (!r.query_text(name)) return std::nullopt;
  return static_cast<std::uint64_t>(r.query_integer_or(name, 0, 0, INT64_MAX));
}

net::Response bundle(Api& api, const Id& id) {
  api.sessions.stored(id);
  auto stream = std::make_shared<BundleStream>(api.recordings, *api.processor, id);
  net::Response response;
  response.headers.set("Content-Type", "application/vnd.lucid.bundle");
  response.headers.set("Content-Disposition", "attachment; filename=\"" + id.text() + ".lucid\"");
  response.stream = [stream](std::span<std::uint8_t> out) { return stream->read(out); };
  api.metrics.bundles.add();
  return response;
}

net::Response verify(Api& api, const Id& id) {
  Session session = api.sessions.get(api.sessions.stored(id).id);
  Verification done = verify_session(api.recordings, *api.processor, session, api.checkpoint_key);
  bool good = done.report.verdict == recording::Verdict::good;
  (good ? api.metrics.verified_good : api.metrics.verified_bad).add();
  return net::Response::json(200, to_json(done));
}

}  // namespace

void add_evidence_routes(net::Router& router, Api& api) {
  using net::Method;
  const std::string one = "/api/v1/sessions/{id}";
  auto recorded = [&api](const net::Request& r) { return api.sessions.stored(session_id(r)).id; };
  router.add(Method::get, one + "/checkpoint",
             [&api, recorded](net::Request& r) { return net::Response::text(api.processor->checkpoint(recorded(r))); });
  router.add(Method::get, one + "/proof/{seq}", [&api, recorded](net::Request& r) {
    return net::Response::json(200, api.processor->proof(recorded(r), sequence_number(r), size_parameter(r, "size")));
  });
  router.add(Method::get, one + "/consistency", [&api, recorded](net::Request& r) {
    auto from = static_cast<std::uint64_t>(r.query_integer_or("from", 0, 0, INT64_MAX));
    return net::Response::json(200, api.processor->consistency(recorded(r), from, size_parameter(r, "to")));
  });
  router.add(Method::get, one + "/manifest",
             [&api, recorded](net::Request& r) { return net::Response::json_text(200, api.recordings.manifest_text(recorded(r))); });
  router.add(Method::get, one + "/bundle", [&api](net::Request& r) { return bundle(api, session_id(r)); });
  router.add(Method::post, one + "/verify", [&api](net::Request& r) { return verify(api, session_id(r)); });
}

}  // namespace lucid::api
