// The cost of one request: inline and on a worker, with and without a span, over one kept connection; and of a chunk-sized body up and
// down.
#include <benchmark/benchmark.h>

#include "lib/net/client.hpp"
#include "lib/net/server.hpp"
#include "lib/net/span.hpp"

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

class NowhereSink final : public SpanSink {
 public:
  bool samples(const TraceId&) const noexcept override { return true; }
  void add(Span span) noexcept override { benchmark::DoNotOptimize(span.end_ns); }
};

struct Running {
  explicit Running(std::shared_ptr<SpanSink> spans = nullptr) : server({.spans = std::move(spans)}, routes(), {}, {}) {}
  Server server;
  Client client{{.base_url = start(), .bearer = {}}};
  std::string start() {
    server.start();
    return "http://127.0.0.1:" + std::to_string(server.port());
  }
};

void get(benchmark::State& state, const char* target, std::shared_ptr<SpanSink> spans = nullptr) {
  Running running(std::move(spans));
  Call call;
  call.target = target;
  for (auto _ : state) benchmark::DoNotOptimize(running.client.send(call).status);
  state.SetItemsProcessed(state.iterations());
}
void inline_get(benchmark::State& state) { get(state, "/inline"); }
void worker_get(benchmark::State& state) { get(state, "/worker"); }
void inline_get_traced(benchmark::State& state) { get(state, "/inline", std::make_shared<NowhereSink>()); }
BENCHMARK(inline_get)->UseRealTime();
BENCHMARK(inline_get_traced)->UseRealTime();
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
