// The cost of one request: inline and on a worker, over one kept connection; and of a chunk-sized body up and down.
#include <benchmark/benchmark.h>

#include "lib/net/client.hpp"
#include "lib/net/server.hpp"

using namespace lucid;
using namespace lucid::net;

namespace {

Router routes() {
  Router router;
  router.add(Method::get, "/inline", [](Request&) { return Response::json_text(200, "{}"); }, {.run = Run::inline_, .auth = Auth::open});
  router.add(Method::get, "/worker", [](Request&) { return Response::json_text(200, "{}"); }, {.auth = Auth::open});
  router.add(Method::put, "/body", [](Request& r) { return Response::bytes(std::move(r.body)); },
             {.max_body = 8 << 20, .auth = Auth::open});
  return router;
}

struct Running {
  Server server{{}, routes(), {}, {}};
  Client client{{.base_url = start(), .bearer = {}}};
  std::string start() {
    server.start();
    return "http://127.0.0.1:" + std::to_string(server.port());
  }
};

void get(benchmark::State& state, const char* target) {
  Running running;
  Call call;
  call.target = target;
  for (auto _ : state) benchmark::DoNotOptimize(running.client.send(call).status);
  state.SetItemsProcessed(state.iterations());
}
void inline_get(benchmark::State& state) { get(state, "/inline"); }
void worker_get(benchmark::State& state) { get(state, "/worker"); }
BENCHMARK(inline_get)->UseRealTime();
BENCHMARK(worker_get)->UseRealTime();

void echo_body(benchmark::State& state) {
  Running running;
  Bytes body(static_cast<std::size_t>(state.range(0)), 7);
  Call call;
  call.method = Method::put;
  call.target = "/body";
  call.body = body;
  for (auto _ : state) benchmark::DoNotOptimize(running.client.send(call).status);
  state.SetBytesProcessed(state.iterations() * state.range(0) * 2);
}
BENCHMARK(echo_body)->Arg(64 << 10)->Arg(1 << 20)->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
