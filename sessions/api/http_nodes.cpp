// Routes to node-management: what an operator asks and orders. Nodes themselves use that service's own port.
#include "sessions/api/http.hpp"

namespace lucid::api {
namespace {

using net::Method;

struct NodeRoute {
  Method method;
  const char* path;  // behind /api/v1/, the same at both doors
};
constexpr NodeRoute kNodeRoutes[] = {
    {Method::post, "invitations"},
    {Method::get, "nodes"},
    {Method::get, "nodes/{id}"},
    {Method::post, "nodes/{id}/drain"},
    {Method::post, "nodes/{id}/resume"},
    {Method::post, "nodes/{id}/maintenance"},
    {Method::post, "nodes/{id}/ban"},
    {Method::post, "nodes/{id}/retire"},
    {Method::get, "nodes/{id}/payouts"},
    {Method::get, "pools"},
    {Method::post, "pools"},
    {Method::get, "pools/{id}"},
    {Method::del, "pools/{id}"},
    {Method::put, "pools/{id}/members/{node}"},
    {Method::del, "pools/{id}/members/{node}"},
    {Method::post, "pools/{id}/place"},
    {Method::get, "poot/scores"},
    {Method::get, "poot/leaders"},
    {Method::get, "poot/receipts"},
    {Method::get, "poot/checkpoint"},
    {Method::get, "payouts"},
    {Method::get, "payouts.csv"},
    {Method::get, "payouts/periods"},
    {Method::post, "payouts/periods"},
    {Method::get, "payouts/periods/{id}"},
    {Method::get, "payouts/periods/{id}/statement"},
    {Method::post, "payouts/batches"},
    {Method::get, "payouts/batches/{id}"},
    {Method::get, "payouts/{id}"},
    {Method::post, "payouts/{id}/cancel"},
    {Method::post, "payouts/{id}/retry"},
};

}  // namespace

void add_node_routes(net::Router& router, Api& api) {
  for (const NodeRoute& route : kNodeRoutes)
    router.add(route.method, std::string("/api/v1/") + route.path,
               [&api, &route](net::Request& request) { return pass_on(*api.nodes, request, filled(route.path, request)); });
}

}  // namespace lucid::api
