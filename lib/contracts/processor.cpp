#include "lib/contracts/processor.hpp"

#include <fmt/format.h>

#include "lib/contracts/fields.hpp"
#include "lib/contracts/paths.hpp"

namespace lucid::contracts {
ProcessorKeys ProcessorClient::keys() {
  json::value value = http_->get_json("/api/v1/key");
  Fields in(value);
  ProcessorKeys k{in.text("spool_public"), in.text("checkpoint_public"), in.text("node")};
  if (!in.ok()) throw in.error("processor's keys");
  return k;
}

Committed ProcessorClient::commit_segment(ByteView sealed_segment, SegmentPart part) {
  net::Call call;
  call.method = net::Method::post;
  call.target = "/api/v1/segments";
  call.body = sealed_segment;
  call.content_type = "application/octet-stream";
  if (part == SegmentPart::cut_by_crash) call.headers.set("X-Lucid-Final-Part", "crash");
  auto value = parse_json(as_text(http_->expect(call).body));
  if (!value) throw value.error();
  Fields in(*value);
  Committed c{in.id("session_id"), in.number<std::uint64_t>("sequence"), in.number<std::uint64_t>("tree_size")};
  if (!in.ok()) throw in.error("commit answer");
  return c;
}

std::string ProcessorClient::checkpoint(const Id& session) {
  net::Call call;
  call.target = session_path(session) + "/checkpoint";
  return std::string(as_text(http_->expect(call).body));
}

json::value ProcessorClient::proof(const Id& session, std::uint64_t sequence, std::optional<std::uint64_t> size) {
  return http_->get_json(fmt::format("{}/proof/{}{}", session_path(session), sequence, size ? fmt::format("?size={}", *size) : ""));
}

json::value ProcessorClient::consistency(const Id& session, std::uint64_t from, std::optional<std::uint64_t> to) {
  return http_->get_json(fmt::format("{}/consistency?from={}{}", session_path(session), from, to ? fmt::format("&to={}", *to) : ""));
}

ProcessorClient::Final ProcessorClient::finish(const Id& session) {
  json::value value = http_->send_json(net::Method::post, session_path(session) + "/finish", json::object{});
  Fields in(value);
  Final f{in.text("checkpoint"), in.text("manifest_note")};
  if (!in.ok()) throw in.error("finish answer");
  return f;
}

ProcessorClient::Snapshot ProcessorClient::snapshot(const Id& session) {
  json::value value = http_->get_json(session_path(session) + "/snapshot");
  Fields in(value);
  Snapshot s{in.text("manifest"), in.text("manifest_note"), in.text("checkpoint"), in.number<std::uint64_t>("tree_size")};
  if (!in.ok()) throw in.error("snapshot");
  return s;
}

void ProcessorClient::remove(const Id& session) {
  net::Call call;
  call.method = net::Method::del;
  call.target = session_path(session);
  http_->expect(call);
}

}  // namespace lucid::contracts
