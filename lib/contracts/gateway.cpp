#include "lib/contracts/gateway.hpp"

#include "lib/contracts/fields.hpp"

namespace lucid::contracts {
namespace {

constexpr const char* kConnections = "/api/v1/connections";

}  // namespace

json::value to_json(const Connection& c) {
  return json::object{
      {"id", c.id.text()},          {"session_id", c.session.text()},     {"client_address", c.client_address},   {"bytes_up", c.bytes_up},
      {"bytes_down", c.bytes_down}, {"opened_wall_ms", c.opened_wall_ms}, {"last_up_wall_ms", c.last_up_wall_ms}, {"frozen", c.frozen}};
}

Connection read_connection(const json::value& value) {
  Fields in(value);
  Connection c;
  c.id = in.id("id");
  c.session = in.id("session_id");
  c.client_address = in.text("client_address");
  c.bytes_up = in.number<std::uint64_t>("bytes_up");
  c.bytes_down = in.number<std::uint64_t>("bytes_down");
  c.opened_wall_ms = in.number<std::int64_t>("opened_wall_ms");
  c.last_up_wall_ms = in.number<std::int64_t>("last_up_wall_ms");
  c.frozen = in.boolean("frozen");
  if (!in.ok()) throw in.error("connection");
  return c;
}

std::vector<Connection> GatewayClient::connections() {
  json::value value = http_->get_json(kConnections);
  Fields in(value);
  std::vector<Connection> out;
  for (const json::value& item : in.array("connections")) out.push_back(read_connection(item));
  if (!in.ok()) throw in.error("list of connections");
  return out;
}

void GatewayClient::freeze(const Id& connection) {
  http_->send_json(net::Method::post, std::string(kConnections) + "/" + connection.text() + "/freeze", json::object{});
}
void GatewayClient::resume(const Id& connection) {
  http_->send_json(net::Method::post, std::string(kConnections) + "/" + connection.text() + "/resume", json::object{});
}
void GatewayClient::kill(const Id& connection, const std::string& cause) {
  http_->send_json(net::Method::post, std::string(kConnections) + "/" + connection.text() + "/kill", json::object{{"cause", cause}});
}

}  // namespace lucid::contracts
